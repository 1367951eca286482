// bench/peers/go/main.go - the workload on go-memdb and buntdb.
//
//	peer_go SYSTEM N THREADS PHASES SHARE [INSERT_SHARE]
//
// What    loads N documents, then the phases asked for in the workload's order, each checked.
//
//	SHARE of the operations are done; INSERT_SHARE of the inserts are timed, in stretches
//	over the whole load, the rest goes in with large transactions.
//
// Sees    RESULT and WRONG lines on stdout as bench/peers/README.md says; a WRONG ends it.
//
// SPDX-License-Identifier: Apache-2.0
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// load times stretches over the whole load. What lies between two goes in with one transaction, in
// the order of keys, in which neighbours share paths.
func (s *stage) load(order []uint32, insertShare float64) float64 {
	var seconds, credit float64
	var timed int
	var pending []uint32
	stretch := max(1, len(order)/500) // inserts in a row that are timed
	for begin := 0; begin < len(order); begin += stretch {
		part := order[begin:min(begin+stretch, len(order))]
		if credit += insertShare; credit < 0.999 {
			pending = append(pending, part...)
			continue
		}
		credit--
		s.loadUntimed(pending)
		pending = pending[:0]
		done, took := s.insertPart(part)
		if done.count != uint64(len(part)) {
			wrong(s, "insert", "%d of %d were accepted", done.count, len(part))
		}
		seconds += took
		timed += len(part)
	}
	s.loadUntimed(pending)
	return float64(timed) / seconds
}

func (s *stage) loadUntimed(pending []uint32) {
	recs := make([]*record, 0, len(pending))
	slices.Sort(pending)
	for _, i := range pending {
		recs = append(recs, recordOf(i, i, 0, s.count))
	}
	s.system.load(recs)
}

// insertPart is run without the collection that run would begin with: all is one load.
func (s *stage) insertPart(part []uint32) (found, float64) {
	return s.runAt(s.deal(part, true), func(hand []operation) (all found) {
		for _, op := range hand {
			if s.system.insert(recordOf(op.i, op.i, 0, s.count)) {
				all.add(0)
			}
		}
		return all
	})
}

func (s *stage) insert(wanted map[string]bool, insertShare float64) {
	order := shuffled(s.count, seedOrder)
	var before uint64
	if wanted["memory"] {
		before = resident()
	}
	rate := s.load(order, insertShare)
	if total := s.system.count(); total != uint64(s.count) {
		wrong(s, "insert", "%d documents instead of %d", total, s.count)
	}
	if wanted["insert"] {
		s.result("insert", rate, "docs/s")
	}
	if wanted["memory"] {
		bytes := resident() - before
		for i := range s.count {
			bytes -= encodedSize(scoreOf(i, 0, s.count))
		}
		s.result("memory", float64(bytes)/float64(s.count), "bytes")
	}
}

// ---- reading ----

// read runs one reading phase: one call a pick, each of which adds what it found.
func (s *stage) read(phase string, forMillion float64, limit uint32, seed uint64, unit string,
	one func(i uint32, all *found), wanted func(i uint32) found) {
	chosen := picks(s.operations(forMillion), limit, seed)
	got, seconds := s.run(s.deal(chosen, false), func(hand []operation) (all found) {
		for _, op := range hand {
			one(op.i, &all)
		}
		return all
	})
	var all found
	for _, i := range chosen {
		all.join(wanted(i))
	}
	s.check(phase, got, all)
	s.result(phase, float64(len(chosen))/seconds, unit)
}

func (s *stage) wantedOne(i uint32) found { return found{1, s.score[i]} }

func (s *stage) get() {
	s.read("get", 2e6, s.count, seedGet, "ops/s", func(i uint32, all *found) {
		if score, ok := s.system.score(keyOf(i)); ok {
			all.add(score)
		}
	}, s.wantedOne)
}

func (s *stage) getMiss() {
	s.read("get_miss", 1e6, s.count, seedMiss, "ops/s", func(i uint32, all *found) {
		if score, ok := s.system.score(absentKeyOf(i)); ok {
			all.add(score)
		}
	}, func(uint32) found { return found{} })
}

func (s *stage) getMany() {
	chosen := picks(s.operations(2e6), s.count, seedMany)
	got, seconds := s.run(s.deal(chosen, false), func(hand []operation) (all found) {
		keys := make([]string, batchSize)
		for begin := 0; begin < len(hand); begin += batchSize {
			part := hand[begin:min(begin+batchSize, len(hand))]
			for at, op := range part {
				keys[at] = keyOf(op.i)
			}
			all.join(s.system.scoreMany(keys[:len(part)]))
		}
		return all
	})
	var all found
	for _, i := range chosen {
		all.add(s.score[i])
	}
	s.check("get_many", got, all)
	s.result("get_many", float64(len(chosen))/seconds, "ops/s")
}

func (s *stage) unique() {
	s.read("unique", 1e6, s.count, seedUnique, "ops/s", func(i uint32, all *found) {
		if score, ok := s.system.scoreByEmail(emailOf(i)); ok {
			all.add(score)
		}
	}, s.wantedOne)
}

func (s *stage) range100() {
	s.read("range100", 2e4, s.count, seedRange, "queries/s", func(i uint32, all *found) {
		all.join(s.system.between(uint64(i), uint64(i)+100))
	}, func(i uint32) found { return s.wantedBetween(uint64(i), uint64(i)+100) })
}

func (s *stage) top100() {
	s.read("top100", 2e4, s.count, seedTop, "queries/s", func(i uint32, all *found) {
		all.join(s.system.top(uint64(i), 100))
	}, func(i uint32) found { return s.wantedTop(uint64(i), 100) })
}

func (s *stage) tag100() {
	guilds := guildCount(s.count)
	s.read("tag100", 2e4, guilds, seedTag, "queries/s", func(guild uint32, all *found) {
		all.join(s.system.tagged(guildText(guild)))
	}, func(guild uint32) found { return s.wantedTag(guild, 8) })
}

func (s *stage) tagAnd() {
	limit := 8 * guildCount(s.count)
	s.read("tagand", 2e3, limit, seedTagAnd, "queries/s", func(i uint32, all *found) {
		all.join(s.system.taggedBoth(guildText(i/8), langText(i%8)))
	}, func(i uint32) found { return s.wantedTag(i/8, i%8) })
}

// ---- writing ----

// written notes in the copy what an update wrote.
func (s *stage) written(k int, i uint32, version uint64) {
	s.score[i] = scoreOf(i, version+uint64(k), s.count)
	s.guild[i] = guildOf(i, version+uint64(k), s.count)
	s.gold[i] = 0
}

func (s *stage) update() {
	chosen := picks(s.operations(1e6), s.count, seedUpdate)
	version := s.version
	s.version += uint64(len(chosen))
	_, seconds := s.run(s.deal(chosen, true), func(hand []operation) (all found) {
		for _, op := range hand {
			s.system.update(recordOf(op.i, op.i, version+op.k, s.count))
		}
		return all
	})
	for k, i := range chosen {
		s.written(k, i, version)
	}
	s.checkAll("update")
	s.result("update", float64(len(chosen))/seconds, "ops/s")
}

func (s *stage) patch() {
	chosen := picks(s.operations(1e6), s.count, seedPatch)
	_, seconds := s.run(s.deal(chosen, true), func(hand []operation) (all found) {
		for _, op := range hand {
			s.system.patch(keyOf(op.i))
		}
		return all
	})
	for _, i := range chosen {
		s.gold[i]++
	}
	s.checkAll("patch")
	s.result("patch", float64(len(chosen))/seconds, "ops/s")
}

func (s *stage) mixed95() {
	chosen := picks(s.operations(2e6), s.count, seedMixed)
	version := s.version
	s.version += uint64(len(chosen))
	got, seconds := s.run(s.deal(chosen, true), func(hand []operation) (all found) {
		for _, op := range hand {
			if below(version+op.k, 20) == 0 {
				s.system.update(recordOf(op.i, op.i, version+op.k, s.count))
				all.add(0)
			} else if score, ok := s.system.score(keyOf(op.i)); ok && score < uint64(s.count) {
				all.add(0)
			}
		}
		return all
	})
	s.check("mixed95", got, found{uint64(len(chosen)), 0})
	for k, i := range chosen {
		if below(version+uint64(k), 20) == 0 {
			s.written(k, i, version)
		}
	}
	s.checkAll("mixed95")
	s.result("mixed95", float64(len(chosen))/seconds, "ops/s")
}

func (s *stage) dup() {
	chosen := picks(s.operations(2e5), s.count, seedDup)
	got, seconds := s.run(s.deal(chosen, true), func(hand []operation) (all found) {
		for _, op := range hand {
			if !s.system.insert(recordOf(s.count+uint32(op.k), op.i, 0, s.count)) {
				all.add(0)
			}
		}
		return all
	})
	s.check("dup", got, found{uint64(len(chosen)), 0})
	s.checkAll("dup")
	s.result("dup", float64(len(chosen))/seconds, "ops/s")
}

func (s *stage) delete() {
	chosen := shuffled(s.count/2, seedDelete)
	chosen = chosen[:max(1, int(float64(len(chosen))*s.share))]
	got, seconds := s.run(s.deal(chosen, true), func(hand []operation) (all found) {
		for _, op := range hand {
			if s.system.remove(keyOf(op.i)) {
				all.add(0)
			}
		}
		return all
	})
	s.check("delete", got, found{uint64(len(chosen)), 0})
	for _, i := range chosen {
		s.gone[i] = true
	}
	s.checkAll("delete")
	s.result("delete", float64(len(chosen))/seconds, "ops/s")
}

func number(place int, otherwise float64) float64 {
	if place >= len(os.Args) {
		return otherwise
	}
	value, err := strconv.ParseFloat(os.Args[place], 64)
	must(err)
	return value
}

func main() {
	if len(os.Args) < 6 {
		fmt.Fprintln(os.Stderr, "usage: peer_go SYSTEM N THREADS PHASES SHARE [INSERT_SHARE]")
		os.Exit(2)
	}
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(10 << 30)
	s := &stage{name: os.Args[1], count: uint32(number(2, 0)), threads: int(number(3, 1)),
		share: number(5, 1), version: 1}
	s.system = map[string]func() system{"go-memdb": memdbOpen, "buntdb": buntOpen}[s.name]()
	wanted := map[string]bool{}
	for _, phase := range strings.Split(os.Args[4], ",") {
		wanted[phase] = true
	}
	s.score, s.guild = make([]uint64, s.count), make([]uint32, s.count)
	s.gold, s.gone = make([]uint64, s.count), make([]bool, s.count)
	for i := range s.count {
		s.score[i], s.guild[i] = scoreOf(i, 0, s.count), guildOf(i, 0, s.count)
	}
	s.insert(wanted, number(6, 1))
	s.expect()
	for _, phase := range []struct {
		name string
		run  func()
	}{{"get", s.get}, {"get_miss", s.getMiss}, {"get_many", s.getMany}, {"unique", s.unique},
		{"range100", s.range100}, {"top100", s.top100}, {"tag100", s.tag100}, {"tagand", s.tagAnd},
		{"update", s.update}, {"patch", s.patch}, {"mixed95", s.mixed95}, {"dup", s.dup},
		{"delete", s.delete}} {
		if wanted[phase.name] {
			phase.run()
		}
	}
}
