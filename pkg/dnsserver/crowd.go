package dnsserver

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
)

// What one client may be: it has a whole IPv6 /64 to connect from (RFC 4291 section 2.5.4).
const oneClient6, oneClient4 = 64, 32

// maxLooked bounds what it costs to find the greediest, for who comes waits for that. Of more connections, as many as are looked at have the greediest
// among them mostly; if not, whoever comes next gets at it.
const maxLooked = 1024

// A crowd is who is connected, by the networks that the rate limit knows and with the same shares. No client takes all, and who is new
// takes the place of the greediest. Safe for concurrent use.
type crowd struct {
	most   int // of one client
	mu     sync.Mutex
	came   uint64                  // of all times
	guests []*guest                // who have a slot, in no order
	groups map[netip.Prefix]*group // only those with a guest
}

// A group are the guests from one network.
type group struct {
	network netip.Prefix
	times   uint64 // its share, as a multiple of an address's
	guests  int
}

// noPlace is where a guest is that has no slot.
const noPlace = -1

// A guest is a connection.
type guest struct {
	came  uint64 // the how manieth
	place int    // in guests; noPlace: it has none, yet or any more
	in    []*group
	end   func()
}

// enter takes in a connection, which end ends; nil: the client has its share.
func (c *crowd) enter(a netip.Addr, end func()) *guest {
	a = a.Unmap().WithZone("")
	levels, client := levels6[:], oneClient6
	if a.Is4() {
		levels, client = levels4[:], oneClient4
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, _ := a.Prefix(client); c.groups[p] != nil && c.groups[p].guests >= c.most {
		return nil
	}
	c.came++
	g := &guest{came: c.came, place: noPlace, end: end}
	for _, v := range levels {
		p, _ := a.Prefix(v.bits)
		g.in = append(g.in, c.join(p, v.times))
	}
	return g
}

// stay tells that a guest has got its slot. Before that it can make room for nobody.
func (c *crowd) stay(g *guest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.place = len(c.guests)
	c.guests = append(c.guests, g)
}

// join counts a guest from a network.
func (c *crowd) join(network netip.Prefix, times uint64) *group {
	if c.groups == nil {
		c.groups = make(map[netip.Prefix]*group)
	}
	n := c.groups[network]
	if n == nil {
		n = &group{network: network, times: times}
		c.groups[network] = n
	}
	n.guests++
	return n
}

// leave ends a connection, and undoes enter and stay.
func (c *crowd) leave(g *guest) {
	g.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(g)
}

// remove takes a guest's place away, and no longer counts it. It may be gone already.
func (c *crowd) remove(g *guest) {
	if g.place != noPlace {
		last := len(c.guests) - 1
		c.guests[g.place] = c.guests[last]
		c.guests[g.place].place = g.place
		c.guests = slices.Delete(c.guests, last, last+1)
		g.place = noPlace
	}
	for _, n := range g.in {
		if n.guests--; n.guests == 0 {
			delete(c.groups, n.network)
		}
	}
	g.in = nil
}

// evict ends the connection of a guest from the greediest network; of equals, the one that has been there longest. False: there is nobody.
func (c *crowd) evict() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.guests) == 0 {
		return false
	}
	start := rand.IntN(len(c.guests))
	out := c.guests[start]
	for i := range min(len(c.guests), maxLooked) {
		g := c.guests[(start+i)%len(c.guests)]
		if more := cmp.Compare(g.greed(), out.greed()); more > 0 || more == 0 && g.came < out.came {
			out = g
		}
	}
	c.remove(out)
	out.end()
	return true
}

// greed is how many times its share the greediest of a guest's networks has.
func (g *guest) greed() (most float64) {
	for _, n := range g.in {
		most = max(most, float64(n.guests)/float64(n.times))
	}
	return most
}
