// The Go program that measures go-memdb and buntdb. SPDX-License-Identifier: Apache-2.0
module merle/bench/peers

go 1.23

require (
	github.com/hashicorp/go-memdb v1.3.5
	github.com/tidwall/buntdb v1.3.0
	github.com/tidwall/gjson v1.14.3
)

require (
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/golang-lru v0.5.4 // indirect
	github.com/tidwall/btree v1.4.2 // indirect
	github.com/tidwall/grect v0.1.4 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	github.com/tidwall/rtred v0.1.2 // indirect
	github.com/tidwall/tinyqueue v0.1.1 // indirect
)
