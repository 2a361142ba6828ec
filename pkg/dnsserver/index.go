package dnsserver

import (
	"hash/maphash"
	"math/bits"
)

// An index finds names by what they are on the wire. A map would do; but of an index it is known where it will look before it looks, so
// that the memory for many names can be under way at a time (warm). It is never changed once it is filled. Its zero value is empty.
type index struct {
	seed  maphash.Seed
	slots []slot // a power of two, at least half of them empty
}

// A slot is empty without a node. Those of one hash follow each other.
type slot struct {
	hash uint64
	node *node
}

// newIndex has every node found by its wire, which are distinct.
func newIndex(nodes []node) index {
	x := index{seed: maphash.MakeSeed(), slots: make([]slot, 1<<bits.Len(uint(2*len(nodes))))}
	for i := range nodes {
		hash := maphash.String(x.seed, nodes[i].wire)
		at := x.home(hash)
		for x.slots[at].node != nil {
			at = x.next(at)
		}
		x.slots[at] = slot{hash, &nodes[i]}
	}
	return x
}

// home is where a node of a hash is, or after it.
func (x *index) home(hash uint64) uint64 { return hash & uint64(len(x.slots)-1) }

func (x *index) next(at uint64) uint64 { return (at + 1) & uint64(len(x.slots)-1) }

func (x *index) hash(name []byte) uint64 { return maphash.Bytes(x.seed, name) }

// find returns the node of a name; nil: there is none.
func (x *index) find(name []byte) *node {
	if len(x.slots) == 0 {
		return nil
	}
	hash := x.hash(name)
	for at := x.home(hash); ; at = x.next(at) {
		switch s := &x.slots[at]; {
		case s.node == nil:
			return nil
		case s.hash == hash && s.node.wire == string(name):
			return s.node
		}
	}
}

// guess returns a node that most likely is that of a hash, without a look at it; nil: there is none.
func (x *index) guess(hash uint64) *node {
	if len(x.slots) == 0 {
		return nil
	}
	for at := x.home(hash); ; at = x.next(at) {
		if s := &x.slots[at]; s.node == nil || s.hash == hash {
			return s.node
		}
	}
}
