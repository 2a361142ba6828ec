package dnsserver

import (
	"net/netip"
	"sync"
)

// A crowd counts the connections of each client, so that none takes all of them. Safe for concurrent use.
type crowd struct {
	most  int // that one client may have
	mu    sync.Mutex
	count map[netip.Prefix]int // by network; only those with a connection
}

// network64 is what one client may be: it has a whole IPv6 /64 to connect from (RFC 4291 section 2.5.4).
func network64(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits)
	return p
}

// enter counts one connection more; false: the client has its share, and nothing was counted.
func (c *crowd) enter(a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := network64(a)
	if c.count[n] >= c.most {
		return false
	}
	if c.count == nil {
		c.count = make(map[netip.Prefix]int)
	}
	c.count[n]++
	return true
}

// leave undoes enter.
func (c *crowd) leave(a netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := network64(a)
	if c.count[n]--; c.count[n] <= 0 {
		delete(c.count, n)
	}
}
