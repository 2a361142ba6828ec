package client

import (
	"net/netip"
	"time"
)

// maxTTL bounds how long an answer is kept (RFC 8767, section 4).
const maxTTL = 7 * 24 * time.Hour

// An answer is what a client knows about a name.
type answer struct {
	values    []string     // in presentation format
	addresses []netip.Addr // the same, where they are addresses
	site      string       // that gave it
	rcode     string
}

// A cache holds one answer of one client. It knows no clock.
type cache struct {
	answer  answer
	expires time.Time // zero: there is no answer
	forever bool
}

// get returns the answer while it holds. One with TTL 0 never does: it is good for the request that got it (RFC 1035,
// section 3.2.1).
func (c *cache) get(now time.Time) (answer, bool) {
	if c.forever || now.Before(c.expires) {
		return c.answer, true
	}
	return answer{}, false
}

// put keeps an answer for its TTL from now on, negative ones too (RFC 2308).
func (c *cache) put(a answer, now time.Time, ttl time.Duration) {
	*c = cache{answer: a, expires: now.Add(min(ttl, maxTTL))}
}

// pin keeps an answer for good.
func (c *cache) pin(a answer) { *c = cache{answer: a, forever: true} }

// drop forgets the answer, unless it is kept for good.
func (c *cache) drop() {
	if !c.forever {
		*c = cache{}
	}
}
