// bench/peers/go/system.go - go-memdb and buntdb behind one table of functions.
//
// What    each system's schema and how it does each operation of the workload.
// Owns    the open store.
// Threads any; both let one writer in at a time by themselves.
//
// SPDX-License-Identifier: Apache-2.0
package main

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/hashicorp/go-memdb"
	"github.com/tidwall/buntdb"
	"github.com/tidwall/gjson"
)

// found is what a query met: how many documents and the sum of their scores.
type found struct{ count, sum uint64 }

func (f *found) add(score uint64) { f.count++; f.sum += score }
func (f *found) join(other found) { f.count += other.count; f.sum += other.sum }

type system interface {
	insert(rec *record) bool
	load(recs []*record) // many in one transaction: only to fill up what is not timed
	get(key string) (rec record, ok bool)
	score(key string) (uint64, bool)
	scoreMany(keys []string) found
	scoreByEmail(email string) (uint64, bool)
	between(from, to uint64) found
	top(highest uint64, limit uint64) found
	tagged(tag string) found
	taggedBoth(tag, other string) found
	update(rec *record)
	patch(key string)
	remove(key string) bool
	count() uint64
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// ---- go-memdb ----

type memdbSystem struct{ db *memdb.MemDB }

// Indexers of our own for the fields: those that come with go-memdb use reflection.
type textIndexer struct{ of func(*record) string }

func textBytes(text string) []byte {
	bytes := make([]byte, len(text)+1)
	copy(bytes, text)
	return bytes
}

func (t textIndexer) FromObject(object interface{}) (bool, []byte, error) {
	return true, textBytes(t.of(object.(*record))), nil
}
func (t textIndexer) FromArgs(args ...interface{}) ([]byte, error) {
	return textBytes(args[0].(string)), nil
}

type scoreIndexer struct{}

func scoreBytes(score uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, score)
}
func (scoreIndexer) FromObject(object interface{}) (bool, []byte, error) {
	return true, scoreBytes(object.(*record).Score), nil
}
func (scoreIndexer) FromArgs(args ...interface{}) ([]byte, error) {
	return scoreBytes(args[0].(uint64)), nil
}

type tagIndexer struct{}

func (tagIndexer) FromObject(object interface{}) (bool, [][]byte, error) {
	tags := object.(*record).Tags
	return true, [][]byte{textBytes(tags[0]), textBytes(tags[1])}, nil
}
func (tagIndexer) FromArgs(args ...interface{}) ([]byte, error) {
	return textBytes(args[0].(string)), nil
}

func memdbOpen() system {
	text := func(name string, of func(*record) string) *memdb.IndexSchema {
		return &memdb.IndexSchema{Name: name, Unique: true, Indexer: textIndexer{of}}
	}
	db, err := memdb.NewMemDB(&memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		"players": {Name: "players", Indexes: map[string]*memdb.IndexSchema{
			"id":    text("id", func(rec *record) string { return rec.Key }),
			"name":  text("name", func(rec *record) string { return rec.Name }),
			"email": text("email", func(rec *record) string { return rec.Email }),
			"score": {Name: "score", Indexer: scoreIndexer{}},
			"tags":  {Name: "tags", Indexer: tagIndexer{}},
		}}}})
	must(err)
	return &memdbSystem{db}
}

func memdbFirst(txn *memdb.Txn, index, text string) *record {
	object, err := txn.First("players", index, text)
	must(err)
	if object == nil {
		return nil
	}
	return object.(*record)
}

// insert looks whether a value is taken by itself: a unique index of go-memdb overwrites.
func (s *memdbSystem) insert(rec *record) bool {
	txn := s.db.Txn(true)
	if memdbFirst(txn, "id", rec.Key) != nil || memdbFirst(txn, "name", rec.Name) != nil ||
		memdbFirst(txn, "email", rec.Email) != nil {
		txn.Abort()
		return false
	}
	must(txn.Insert("players", rec))
	txn.Commit()
	return true
}

func (s *memdbSystem) load(recs []*record) {
	txn := s.db.Txn(true)
	for _, rec := range recs {
		must(txn.Insert("players", rec))
	}
	txn.Commit()
}

func (s *memdbSystem) get(key string) (record, bool) {
	rec := memdbFirst(s.db.Txn(false), "id", key)
	if rec == nil {
		return record{}, false
	}
	return *rec, true
}

func (s *memdbSystem) score(key string) (uint64, bool) {
	rec := memdbFirst(s.db.Txn(false), "id", key)
	if rec == nil {
		return 0, false
	}
	return rec.Score, true
}

func (s *memdbSystem) scoreMany(keys []string) (all found) {
	txn := s.db.Txn(false)
	for _, key := range keys {
		if rec := memdbFirst(txn, "id", key); rec != nil {
			all.add(rec.Score)
		}
	}
	return all
}

func (s *memdbSystem) scoreByEmail(email string) (uint64, bool) {
	rec := memdbFirst(s.db.Txn(false), "email", email)
	if rec == nil {
		return 0, false
	}
	return rec.Score, true
}

func (s *memdbSystem) between(from, to uint64) (all found) {
	results, err := s.db.Txn(false).LowerBound("players", "score", from)
	must(err)
	for object := results.Next(); object != nil; object = results.Next() {
		rec := object.(*record)
		if rec.Score >= to {
			break
		}
		all.add(rec.Score)
	}
	return all
}

// top begins below highest + 1: entries of one score are told apart by the key behind it, so that
// the score alone as a bound from above would leave out its own.
func (s *memdbSystem) top(highest uint64, limit uint64) (all found) {
	results, err := s.db.Txn(false).ReverseLowerBound("players", "score", highest+1)
	must(err)
	for object := results.Next(); object != nil && all.count < limit; object = results.Next() {
		all.add(object.(*record).Score)
	}
	return all
}

func (s *memdbSystem) tagged(tag string) (all found) {
	results, err := s.db.Txn(false).Get("players", "tags", tag)
	must(err)
	for object := results.Next(); object != nil; object = results.Next() {
		all.add(object.(*record).Score)
	}
	return all
}

func (s *memdbSystem) taggedBoth(tag, other string) (all found) {
	results, err := s.db.Txn(false).Get("players", "tags", tag)
	must(err)
	for object := results.Next(); object != nil; object = results.Next() {
		if rec := object.(*record); rec.Tags[0] == other || rec.Tags[1] == other {
			all.add(rec.Score)
		}
	}
	return all
}

func (s *memdbSystem) update(rec *record) {
	txn := s.db.Txn(true)
	must(txn.Insert("players", rec))
	txn.Commit()
}

func (s *memdbSystem) patch(key string) {
	txn := s.db.Txn(true)
	changed := *memdbFirst(txn, "id", key)
	changed.Gold++
	must(txn.Insert("players", &changed))
	txn.Commit()
}

func (s *memdbSystem) remove(key string) bool {
	txn := s.db.Txn(true)
	rec := memdbFirst(txn, "id", key)
	if rec == nil {
		txn.Abort()
		return false
	}
	must(txn.Delete("players", rec))
	txn.Commit()
	return true
}

func (s *memdbSystem) count() (total uint64) {
	results, err := s.db.Txn(false).Get("players", "id")
	must(err)
	for results.Next() != nil {
		total++
	}
	return total
}

// ---- buntdb ----
// One tree of keys, indexes by hand in it: its own indexes by a JSON path parse both documents at
// every comparison. d: the document as JSON, n: and e: the key under a unique value, s: and t: the
// entries of score and tags, whose values are the key as well.

type buntSystem struct {
	db    *buntdb.DB
	total uint64 // changed in write transactions only
}

func buntOpen() system {
	db, err := buntdb.Open(":memory:")
	must(err)
	return &buntSystem{db: db}
}

func buntDocument(rec *record) string {
	text := make([]byte, 0, 256)
	text = append(text, `{"score":`...)
	text = strconv.AppendUint(text, rec.Score, 10)
	text = append(text, `,"gold":`...)
	text = strconv.AppendUint(text, rec.Gold, 10)
	for _, field := range [...][2]string{{`,"name":"`, rec.Name}, {`","email":"`, rec.Email},
		{`","tags":["`, rec.Tags[0]}, {`","`, rec.Tags[1]}, {`"],"bio":"`, rec.Bio}} {
		text = append(append(text, field[0]...), field[1]...)
	}
	return string(append(text, `"}`...))
}

func buntRecord(key, text string) *record {
	fields := gjson.GetMany(text, "name", "email", "score", "tags.0", "tags.1", "bio", "gold")
	return &record{Key: key, Name: fields[0].Str, Email: fields[1].Str, Score: fields[2].Uint(),
		Tags: []string{fields[3].Str, fields[4].Str}, Bio: fields[5].Str, Gold: fields[6].Uint()}
}

// The score stands first in the document, so that gjson finds it at once.
func buntScore(text string) uint64 { return gjson.Get(text, "score").Uint() }

func scoreKey(score uint64, key string) string {
	var text [40]byte
	copy(text[:], "s:000000000000:")
	for at := 14; at > 2; score /= 10 {
		at--
		text[at] = byte('0' + score%10)
	}
	return string(append(text[:15], key...))
}

func tagKey(tag, key string) string { return "t:" + tag + ":" + key }

func (s *buntSystem) set(tx *buntdb.Tx, key, value string) {
	_, _, err := tx.Set(key, value, nil)
	must(err)
}

func (s *buntSystem) drop(tx *buntdb.Tx, key string) {
	_, err := tx.Delete(key)
	must(err)
}

func (s *buntSystem) isTaken(tx *buntdb.Tx, key string) bool {
	_, err := tx.Get(key)
	return err == nil
}

func (s *buntSystem) put(tx *buntdb.Tx, rec *record) {
	s.set(tx, "d:"+rec.Key, buntDocument(rec))
	s.set(tx, scoreKey(rec.Score, rec.Key), rec.Key)
	s.set(tx, tagKey(rec.Tags[0], rec.Key), rec.Key)
	s.set(tx, tagKey(rec.Tags[1], rec.Key), rec.Key)
	s.set(tx, "n:"+rec.Name, rec.Key)
	s.set(tx, "e:"+rec.Email, rec.Key)
	s.total++
}

func (s *buntSystem) insert(rec *record) (done bool) {
	must(s.db.Update(func(tx *buntdb.Tx) error {
		done = !s.isTaken(tx, "d:"+rec.Key) && !s.isTaken(tx, "n:"+rec.Name) &&
			!s.isTaken(tx, "e:"+rec.Email)
		if done {
			s.put(tx, rec)
		}
		return nil
	}))
	return done
}

func (s *buntSystem) load(recs []*record) {
	must(s.db.Update(func(tx *buntdb.Tx) error {
		for _, rec := range recs {
			s.put(tx, rec)
		}
		return nil
	}))
}

func (s *buntSystem) view(work func(tx *buntdb.Tx)) {
	must(s.db.View(func(tx *buntdb.Tx) error {
		work(tx)
		return nil
	}))
}

func (s *buntSystem) get(key string) (rec record, ok bool) {
	s.view(func(tx *buntdb.Tx) {
		if text, err := tx.Get("d:" + key); err == nil {
			rec, ok = *buntRecord(key, text), true
		}
	})
	return rec, ok
}

func (s *buntSystem) score(key string) (score uint64, ok bool) {
	s.view(func(tx *buntdb.Tx) {
		if text, err := tx.Get("d:" + key); err == nil {
			score, ok = buntScore(text), true
		}
	})
	return score, ok
}

func (s *buntSystem) scoreMany(keys []string) (all found) {
	s.view(func(tx *buntdb.Tx) { s.touch(tx, keys, &all) })
	return all
}

func (s *buntSystem) touch(tx *buntdb.Tx, keys []string, all *found) {
	for _, key := range keys {
		if text, err := tx.Get("d:" + key); err == nil {
			all.add(buntScore(text))
		}
	}
}

func (s *buntSystem) scoreByEmail(email string) (score uint64, ok bool) {
	s.view(func(tx *buntdb.Tx) {
		if key, err := tx.Get("e:" + email); err == nil {
			text, err := tx.Get("d:" + key)
			must(err)
			score, ok = buntScore(text), true
		}
	})
	return score, ok
}

func (s *buntSystem) between(from, to uint64) (all found) {
	s.view(func(tx *buntdb.Tx) {
		keys := make([]string, 0, 128)
		must(tx.AscendRange("", scoreKey(from, ""), scoreKey(to, ""), func(_, key string) bool {
			keys = append(keys, key)
			return true
		}))
		s.touch(tx, keys, &all)
	})
	return all
}

func (s *buntSystem) top(highest uint64, limit uint64) (all found) {
	s.view(func(tx *buntdb.Tx) {
		keys := make([]string, 0, 128)
		// Above what is wanted, below what is not: from the first entry of the next score down.
		must(tx.DescendRange("", scoreKey(highest+1, ""), "s:", func(_, key string) bool {
			keys = append(keys, key)
			return uint64(len(keys)) < limit
		}))
		s.touch(tx, keys, &all)
	})
	return all
}

func (s *buntSystem) tagged(tag string) (all found) {
	s.view(func(tx *buntdb.Tx) {
		keys := make([]string, 0, 128)
		must(tx.AscendRange("", "t:"+tag+":", "t:"+tag+";", func(_, key string) bool {
			keys = append(keys, key)
			return true
		}))
		s.touch(tx, keys, &all)
	})
	return all
}

func (s *buntSystem) taggedBoth(tag, other string) (all found) {
	s.view(func(tx *buntdb.Tx) {
		keys := make([]string, 0, 128)
		must(tx.AscendRange("", "t:"+tag+":", "t:"+tag+";", func(_, key string) bool {
			keys = append(keys, key)
			return true
		}))
		for _, key := range keys {
			if s.isTaken(tx, tagKey(other, key)) {
				s.touch(tx, []string{key}, &all)
			}
		}
	})
	return all
}

func (s *buntSystem) update(rec *record) {
	must(s.db.Update(func(tx *buntdb.Tx) error {
		text, err := tx.Get("d:" + rec.Key)
		must(err)
		old := gjson.GetMany(text, "score", "tags.0")
		if score := old[0].Uint(); score != rec.Score {
			s.drop(tx, scoreKey(score, rec.Key))
			s.set(tx, scoreKey(rec.Score, rec.Key), rec.Key)
		}
		if guild := old[1].Str; guild != rec.Tags[0] {
			s.drop(tx, tagKey(guild, rec.Key))
			s.set(tx, tagKey(rec.Tags[0], rec.Key), rec.Key)
		}
		s.set(tx, "d:"+rec.Key, buntDocument(rec))
		return nil
	}))
}

func (s *buntSystem) patch(key string) {
	must(s.db.Update(func(tx *buntdb.Tx) error {
		text, err := tx.Get("d:" + key)
		must(err)
		rec := buntRecord(key, text)
		rec.Gold++
		s.set(tx, "d:"+key, buntDocument(rec))
		return nil
	}))
}

func (s *buntSystem) remove(key string) (done bool) {
	must(s.db.Update(func(tx *buntdb.Tx) error {
		text, err := tx.Get("d:" + key)
		if err != nil {
			return nil
		}
		rec := buntRecord(key, text)
		for _, entry := range []string{"d:" + key, "n:" + rec.Name, "e:" + rec.Email,
			scoreKey(rec.Score, key), tagKey(rec.Tags[0], key), tagKey(rec.Tags[1], key)} {
			s.drop(tx, entry)
		}
		s.total--
		done = true
		return nil
	}))
	return done
}

// count counts, instead of believing the number kept aside; a document is six keys.
func (s *buntSystem) count() (total uint64) {
	s.view(func(tx *buntdb.Tx) {
		must(tx.AscendRange("", "d:", "d;", func(_, _ string) bool {
			total++
			return true
		}))
		keys, err := tx.Len()
		must(err)
		if total != s.total || uint64(keys) != 6*total {
			panic(fmt.Sprintf("%d documents of %d keys, %d accepted", total, keys, s.total))
		}
	})
	return total
}
