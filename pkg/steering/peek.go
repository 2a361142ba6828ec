package steering

import "net/netip"

// Peek appends what the next Pick would, and takes nobody's turn.
func (p *Picker) Peek(dst []netip.Addr, client netip.Prefix) []netip.Addr {
	if len(p.order) == 0 {
		return p.Pick(dst, client) // no turns to take
	}
	return p.turn(dst, p.next.Load())
}

// Shares returns, for each address that may be picked, the part of the answers that begin with it; by Hash, of the clients
// whose answers do. They add up to 1.
func (p *Picker) Shares() map[netip.Addr]float64 {
	shares, sum := make(map[netip.Addr]float64, len(p.addrs)), 0.0
	for i, r := range p.ranked {
		shares[p.addrs[i]] += r.weight
		sum += r.weight
	}
	for _, i := range p.order {
		shares[p.addrs[i]]++
		sum++
	}
	for a := range shares {
		shares[a] /= sum
	}
	return shares
}
