package dnsserver

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slowest is the longest prefix by its definition.
func slowest(values map[netip.Prefix]int, a netip.Addr) int {
	bits, value := -1, 0
	for p, v := range values {
		if p.Contains(a.Unmap()) && p.Bits() > bits {
			bits, value = p.Bits(), v
		}
	}
	return value
}

// Whatever the prefixes: any address, and those at the edges, get what the longest one says.
func TestPrefixTable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		values := make(map[netip.Prefix]int)
		for i := range random.IntN(40) {
			a := randomAddr(random)
			p, err := a.Prefix(random.IntN(a.BitLen() + 1))
			if err != nil {
				t.Fatal(err)
			}
			values[p] = i + 1
		}
		table := newPrefixTable(values)
		check := func(a netip.Addr) {
			if got, want := table.find(a), slowest(values, a); got != want {
				t.Fatalf("%v of %v: %d, want %d", a, values, got, want)
			}
		}
		for range 100 {
			check(randomAddr(random))
		}
		for p := range values {
			for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), last(p), last(p).Next()} {
				if a.IsValid() {
					check(a)
				}
			}
		}
	}
}

// randomAddr is of either family, close to others: prefixes are to overlap.
func randomAddr(random *rand.Rand) netip.Addr {
	b := [16]byte{0: byte(random.IntN(2)) << 7, 1: byte(random.IntN(4)), 15: byte(random.IntN(4))}
	switch random.IntN(3) {
	case 0:
		return netip.AddrFrom4([4]byte{byte(random.IntN(2)) << 7, 0, byte(random.IntN(4)), byte(random.Uint32())})
	case 1:
		return netip.AddrFrom16([16]byte(netip.AddrFrom4([4]byte{0, 0, byte(random.IntN(4)), byte(random.Uint32())}).As16()))
	default:
		return netip.AddrFrom16(b)
	}
}

func BenchmarkPrefixTable(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, n := range map[string]int{"4": 4, "100": 100, "10000": 10000} {
		b.Run(name, func(b *testing.B) {
			values := make(map[netip.Prefix]*class)
			for range n {
				var a [16]byte
				for i := range a {
					a[i] = byte(random.Uint32())
				}
				p, _ := netip.AddrFrom16(a).Prefix(16 + random.IntN(48))
				values[p] = everybody
			}
			table := newPrefixTable(values)
			a := netip.MustParseAddr("2001:db8::1")
			b.ReportAllocs()
			for b.Loop() {
				table.find(a)
			}
		})
	}
}
