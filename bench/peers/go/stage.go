// bench/peers/go/stage.go - what the phases share: orders, workers, what the answers must be.
//
// What    pseudo-random orders made before the clock runs; one goroutine a worker; a plain copy of
//
//	what the documents must say, against which every answer is checked.
//
// Owns    the copy: score, guild and gold of each record, and whether it is there.
// Sees    two workers never write the same record (record i belongs to worker i % threads), so the
//
//	last write of each is known.
//
// SPDX-License-Identifier: Apache-2.0
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Seeds, one a phase, as in bench/phases.c; the queries have their own after them.
const (
	seedOrder = 1 + iota
	seedGet
	seedMiss
	seedMany
	seedUnique
	seedUpdate
	seedPatch
	seedTick
	seedMixed
	seedDup
	seedDelete
	seedRange
	seedTop
	seedTag
	seedTagAnd
	seedCheck
)

type stage struct {
	name    string
	system  system
	count   uint32
	threads int
	share   float64
	version uint64
	score   []uint64
	guild   []uint32
	gold    []uint64
	gone    []bool
	below   []found // documents with a score below the place, their sum; made by expect
	guilds  [][]uint32
}

type operation struct {
	k uint64 // which one of all
	i uint32 // record, or where a query begins
}

func wrong(s *stage, phase, format string, arguments ...any) {
	fmt.Printf("WRONG %s %s %s\n", s.name, phase, fmt.Sprintf(format, arguments...))
	os.Exit(1)
}

func (s *stage) result(phase string, value float64, unit string) {
	fmt.Printf("RESULT %s %s %d %.1f %s\n", s.name, phase, s.threads, value, unit)
}

// operations gives as many as the workload says for a million, fewer for fewer documents.
func (s *stage) operations(forMillion float64) int {
	return max(1, int(forMillion*min(1, float64(s.count)/1e6)*s.share))
}

func picks(n int, limit uint32, seed uint64) []uint32 {
	chosen := make([]uint32, n)
	for k := range chosen {
		chosen[k] = below(seed<<40+uint64(k), limit)
	}
	return chosen
}

func shuffled(n uint32, seed uint64) []uint32 {
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	for i := n; i > 1; i-- {
		other := below(seed<<40+uint64(i), i)
		order[i-1], order[other] = order[other], order[i-1]
	}
	return order
}

// deal gives each worker its operations: those that write by record, those that read in turn.
func (s *stage) deal(chosen []uint32, writes bool) [][]operation {
	hands := make([][]operation, s.threads)
	for k, i := range chosen {
		worker := k % s.threads
		if writes {
			worker = int(i) % s.threads
		}
		hands[worker] = append(hands[worker], operation{uint64(k), i})
	}
	return hands
}

// run collects what came before, then lets the workers go.
func (s *stage) run(hands [][]operation, work func(hand []operation) found) (found, float64) {
	runtime.GC()
	return s.runAt(hands, work)
}

// runAt lets all workers go at one moment and returns what they found and the seconds it took.
func (s *stage) runAt(hands [][]operation, work func(hand []operation) found) (found, float64) {
	results := make([]found, len(hands))
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for worker := range hands {
		ready.Add(1)
		done.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			<-gate
			results[worker] = work(hands[worker])
			done.Done()
		}()
	}
	ready.Wait()
	start := time.Now()
	close(gate)
	done.Wait()
	seconds := time.Since(start).Seconds()
	var all found
	for _, result := range results {
		all.count += result.count
		all.sum += result.sum
	}
	return all, seconds
}

func (s *stage) check(phase string, got, wanted found) {
	if got != wanted {
		wrong(s, phase, "%d with scores of %d instead of %d with %d", got.count, got.sum,
			wanted.count, wanted.sum)
	}
}

// expect sorts the copy anew, after writes.
func (s *stage) expect() {
	s.below = make([]found, s.count+1)
	s.guilds = make([][]uint32, guildCount(s.count))
	for i := range s.score {
		if s.gone[i] {
			continue
		}
		s.below[s.score[i]+1].add(s.score[i])
		s.guilds[s.guild[i]] = append(s.guilds[s.guild[i]], uint32(i))
	}
	for place := 1; place < len(s.below); place++ {
		s.below[place].count += s.below[place-1].count
		s.below[place].sum += s.below[place-1].sum
	}
}

func (s *stage) wantedBetween(from, to uint64) found {
	high, low := s.below[min(to, uint64(s.count))], s.below[from]
	return found{high.count - low.count, high.sum - low.sum}
}

func (s *stage) wantedTop(highest, limit uint64) (all found) {
	for score := highest + 1; score > 0 && all.count < limit; score-- {
		here := s.wantedBetween(score-1, score)
		take := min(here.count, limit-all.count)
		all.count += take
		all.sum += take * (score - 1)
	}
	return all
}

// wantedTag: language 8 is any.
func (s *stage) wantedTag(guild, lang uint32) (all found) {
	for _, i := range s.guilds[guild] {
		if lang == 8 || uint32(mix(uint64(i))%8) == lang {
			all.add(s.score[i])
		}
	}
	return all
}

// checkAll reads every document and asks some queries: after writes all must agree with the copy.
func (s *stage) checkAll(phase string) {
	var present uint64
	for i := range s.count {
		rec, ok := s.system.get(keyOf(i))
		if ok == s.gone[i] {
			wrong(s, phase, "%s is there: %v", keyOf(i), ok)
		}
		if _, ok := s.system.scoreByEmail(emailOf(i)); i%16 == 0 && ok == s.gone[i] {
			wrong(s, phase, "%s is there: %v", emailOf(i), ok)
		}
		if !ok {
			continue
		}
		present++
		if rec.Score != s.score[i] || rec.Gold != s.gold[i] || rec.Tags[0] != guildText(s.guild[i]) {
			wrong(s, phase, "%s has score %d, gold %d, %s; written were %d, %d, %d", rec.Key,
				rec.Score, rec.Gold, rec.Tags[0], s.score[i], s.gold[i], s.guild[i])
		}
	}
	if total := s.system.count(); total != present {
		wrong(s, phase, "%d documents instead of %d", total, present)
	}
	s.expect()
	for k := range uint64(500) {
		from := uint64(below(seedCheck<<40+k, s.count))
		guild := below(seedCheck<<40+k, guildCount(s.count))
		s.check(phase, s.system.between(from, from+100), s.wantedBetween(from, from+100))
		s.check(phase, s.system.tagged(guildText(guild)), s.wantedTag(guild, 8))
	}
}

// resident gives the resident bytes of this process, with what the collector can give back gone.
func resident() uint64 {
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/smaps_rollup")
	must(err)
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Rss:" {
			kilobytes, err := strconv.ParseUint(fields[1], 10, 64)
			must(err)
			return kilobytes * 1024
		}
	}
	panic("no resident size")
}
