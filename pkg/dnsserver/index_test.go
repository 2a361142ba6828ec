package dnsserver

import (
	"fmt"
	"testing"
	"unsafe"
)

// An index finds all that it has, whatever shares its place, and nothing else.
func TestIndex(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000} {
		nodes := make([]node, n)
		for i := range nodes {
			nodes[i].wire = fmt.Sprintf("\x04%04d\x00", i)
		}
		x := newIndex(nodes)
		if len(x.slots) < 2*n {
			t.Errorf("%d slots for %d names", len(x.slots), n)
		}
		for i := range nodes {
			name := []byte(nodes[i].wire)
			if got := x.find(name); got != &nodes[i] {
				t.Fatalf("%q of %d: found %v", name, n, got)
			}
			if got := x.guess(x.hash(name)); got != &nodes[i] {
				t.Fatalf("%q of %d: guessed %v", name, n, got)
			}
		}
		for i := range 1000 {
			if got := x.find(fmt.Appendf(nil, "\x04x%03d\x00", i)); got != nil {
				t.Fatalf("found %q, which is not one of %d", got.wire, n)
			}
		}
	}
	if got := new(index).find([]byte("\x00")); got != nil {
		t.Errorf("found %v in nothing", got)
	}
}

// What ten thousand names are answered from fits the processor's cache lines: who adds a field there should know what it costs.
func TestCacheLines(t *testing.T) {
	const line = 64
	if size := unsafe.Sizeof(node{}); size != 2*line {
		t.Errorf("a node has %d octets, want two cache lines", size)
	}
	for name, end := range map[string]uintptr{
		"node.kind":       unsafe.Offsetof(node{}.kind) + unsafe.Sizeof(node{}.kind),
		"service.pickers": unsafe.Offsetof(service{}.pickers) + unsafe.Sizeof(service{}.pickers),
		"cell.number":     unsafe.Offsetof(cell{}.number) + unsafe.Sizeof(cell{}.number),
	} {
		if end > line {
			t.Errorf("%s ends at octet %d, beyond the first cache line", name, end)
		}
	}
}
