// bench/peers/go/record.go - the documents of the workload, as bench/common/record.c makes them.
//
// What    record i in its version, its texts, and how large its msgpack bytes would be.
// Sees    the same i and version give the same fields as in the C program.
// Threads any.
//
// SPDX-License-Identifier: Apache-2.0
package main

import (
	"math/bits"
	"strings"
)

const batchSize = 64

// record is what a system stores. Tags holds guild and language; go-memdb keeps the pointer.
type record struct {
	Key   string
	Name  string
	Email string
	Score uint64
	Tags  []string
	Bio   string
	Gold  uint64
}

var bio = strings.Repeat("b", 64)

func mix(number uint64) uint64 {
	number += 0x9e3779b97f4a7c15
	number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9
	number = (number ^ (number >> 27)) * 0x94d049bb133111eb
	return number ^ (number >> 31)
}

func below(number uint64, limit uint32) uint32 {
	high, _ := bits.Mul64(mix(number), uint64(limit))
	return uint32(high)
}

func scoreOf(i uint32, version uint64, count uint32) uint64 {
	return mix(uint64(i)+version<<32) % uint64(count)
}

func guildCount(count uint32) uint32 {
	return max(count/100, 1)
}

func guildOf(i uint32, version uint64, count uint32) uint32 {
	return uint32((uint64(i) + version) % uint64(guildCount(count)))
}

// digits writes number into the end of a copy of pattern's digits, which begin at from.
func digits(pattern string, from, digitCount int, number uint32) string {
	var text [24]byte
	copy(text[:], pattern)
	for at := from + digitCount; at > from; number /= 10 {
		at--
		text[at] = byte('0' + number%10)
	}
	return string(text[:len(pattern)])
}

func keyOf(i uint32) string     { return digits("p00000000", 1, 8, i) }
func nameOf(i uint32) string    { return digits("player_00000000", 7, 8, i) }
func emailOf(i uint32) string   { return digits("u00000000@example.net", 1, 8, i) }
func guildText(g uint32) string { return digits("guild:000000", 6, 6, g) }
func langText(l uint32) string  { return digits("lang:0", 5, 1, l) }

// absentKeyOf looks like a key, lies between the others in order, and is none of them.
func absentKeyOf(i uint32) string {
	key := []byte(keyOf(i))
	key[8] += 'a' - '0'
	return string(key)
}

func recordOf(i, emailFrom uint32, version uint64, count uint32) *record {
	tags := []string{guildText(guildOf(i, version, count)), langText(uint32(mix(uint64(i)) % 8))}
	return &record{Key: keyOf(i), Name: nameOf(i), Email: emailOf(emailFrom),
		Score: scoreOf(i, version, count), Tags: tags, Bio: bio}
}

// encodedSize is the size of the document as msgpack: what the memory phase does not count.
func encodedSize(score uint64) uint64 {
	const rest = 1 + 5 + 16 + 6 + 22 + 6 + 5 + 1 + 13 + 7 + 4 + 66 + 5 + 1
	switch {
	case score < 128:
		return rest + 1
	case score < 256:
		return rest + 2
	case score < 65536:
		return rest + 3
	}
	return rest + 5
}
