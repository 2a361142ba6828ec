package steering

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// ranked is an address as rendezvous hashing needs it.
type ranked struct {
	hash   uint64
	weight float64
}

func newRanked(addrs []netip.Addr, weights []float64) []ranked {
	all := make([]ranked, len(addrs))
	for i, a := range addrs {
		all[i] = ranked{hashOf(a), weights[i]}
	}
	return all
}

// rank appends the addresses that score highest for the client, the best one first: weighted rendezvous hashing. An
// address that goes away moves none but its own clients, and one that comes takes over none but those that it ranks
// first for.
func (p *Picker) rank(dst []netip.Addr, client netip.Prefix) []netip.Addr {
	var room [16]float64
	scores, begin := room[:0], len(dst)
	key := hashOf(client.Masked().Addr()) + uint64(client.Bits())
	for i, r := range p.ranked {
		s := r.score(key)
		if len(scores) == p.Size() && s <= scores[len(scores)-1] {
			continue
		}
		if len(scores) < p.Size() {
			scores, dst = append(scores, 0), append(dst, netip.Addr{})
		}
		j := len(scores) - 1
		for ; j > 0 && scores[j-1] < s; j-- {
			scores[j], dst[begin+j] = scores[j-1], dst[begin+j-1]
		}
		scores[j], dst[begin+j] = s, p.addrs[i]
	}
	return dst
}

// score is -weight/ln(u) with u uniform in (0, 1): whoever has twice the weight is twice as often the highest.
func (r ranked) score(key uint64) float64 {
	u := (float64(mix(r.hash^key)>>11) + 0.5) / (1 << 53)
	return -r.weight / math.Log(u)
}

// hashOf is the same in every process and at every site.
func hashOf(a netip.Addr) uint64 {
	b := a.As16()
	return mix(mix(binary.BigEndian.Uint64(b[:8])) + binary.BigEndian.Uint64(b[8:]))
}

// mix is the finalizer of SplitMix64 (Steele et al., OOPSLA 2014): each bit of x decides about each bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
