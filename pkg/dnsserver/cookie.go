package dnsserver

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
)

// The sizes of a cookie (RFC 7873 section 4): the client's part, ours (RFC 9018 section 4), and the longest of anybody.
const (
	clientCookieSize = 8
	serverCookieSize = 16
	cookieSize       = clientCookieSize + serverCookieSize
	longestCookie    = clientCookieSize + 32
)

// The life of a server cookie in seconds (RFC 9018 section 4.3).
const (
	cookieLife   = 3600
	cookieFresh  = 1800 // it comes back as it is; an older one is replaced
	cookieFuture = 300  // the clocks of sites differ
)

// Cookies are the secrets of DNS cookies (RFC 7873, RFC 9018). All sites of an anycast address need the same ones: a client does
// not know which of them answers.
type Cookies struct {
	Off bool
	// Secret makes cookies. All zero: the process makes one for itself, which no other site knows.
	Secret [16]byte
	// Accepted make no cookies, but those made with them are good: the one before or the one that is next.
	Accepted [][16]byte
}

// A cookie is a COOKIE option, as it came and as it goes back.
type cookie struct {
	size   uint8    // of what came; 0: none
	sealed bool     // there is one to go back
	who    identity // once it is sealed
	came   [longestCookie]byte
	back   [cookieSize]byte
}

// read takes the option of a query; of several the first counts (RFC 7873 section 5.2). False: it is malformed.
func (c *cookie) read(data []byte) bool {
	if len(data) != clientCookieSize && (len(data) < 2*clientCookieSize || len(data) > longestCookie) {
		return false
	}
	if c.size == 0 {
		c.size = uint8(copy(c.came[:], data))
	}
	return true
}

// option is the option that goes back.
func (c *cookie) option(b []byte) []byte {
	b = append(b, 0, 10, 0, cookieSize) // dns.EDNS0COOKIE
	return append(b, c.back[:]...)
}

// identity is what a cookie says of who sent it.
type identity uint8

const (
	anonymous identity = iota // no cookie
	newcomer                  // a client's cookie alone
	foreign                   // a server cookie that is not ours, or no longer
	known                     // the address is not forged
)

// A jar makes and judges cookies.
type jar struct {
	key      sipKey
	accepted []sipKey
}

// newJar returns the jar for c, with own as the secret where c has none; nil where there are no cookies.
func newJar(c Cookies, own [16]byte) *jar {
	if c.Off {
		return nil
	}
	if c.Secret == ([16]byte{}) {
		c.Secret = own
	}
	j := &jar{key: newSipKey(c.Secret)}
	for _, secret := range c.Accepted {
		j.accepted = append(j.accepted, newSipKey(secret))
	}
	return j
}

// ownSecret is what a process makes for itself.
func ownSecret() (secret [16]byte) {
	_, _ = rand.Read(secret[:]) // never fails
	return secret
}

// seal judges a cookie that came from an address, and makes the one that goes back. now is the time in seconds.
func (j *jar) seal(c *cookie, from netip.Addr, now uint32) {
	keep := false
	c.sealed, c.who = true, newcomer
	if c.size > clientCookieSize {
		c.who, keep = j.judge(c, from, now)
	}
	if keep {
		copy(c.back[:], c.came[:])
		return
	}
	copy(c.back[:], c.came[:clientCookieSize])
	server := c.back[clientCookieSize:]
	server[0], server[1], server[2], server[3] = 1, 0, 0, 0 // version 1, reserved
	binary.BigEndian.PutUint32(server[4:], now)
	binary.LittleEndian.PutUint64(server[8:], j.key.ofClient(c.back[:], from))
}

// judge tells whether the server cookie is good; keep: it needs no new one.
func (j *jar) judge(c *cookie, from netip.Addr, now uint32) (who identity, keep bool) {
	if c.size != cookieSize || c.came[clientCookieSize] != 1 {
		return foreign, false
	}
	// Serial number arithmetic (RFC 1982).
	age := int32(now - binary.BigEndian.Uint32(c.came[clientCookieSize+4:]))
	if age > cookieLife || age < -cookieFuture {
		return foreign, false
	}
	if j.key.made(c, from) {
		return known, age <= cookieFresh
	}
	for _, key := range j.accepted {
		if key.made(c, from) {
			return known, false
		}
	}
	return foreign, false
}

// made tells whether a cookie was made with the key, in constant time.
func (k sipKey) made(c *cookie, from netip.Addr) bool {
	var want [8]byte
	binary.LittleEndian.PutUint64(want[:], k.ofClient(c.came[:], from))
	return subtle.ConstantTimeCompare(want[:], c.came[cookieSize-8:cookieSize]) == 1
}

// ofClient hashes the client's cookie, the first half of ours, and the client's address (RFC 9018 section 4.4).
func (k sipKey) ofClient(cookie []byte, from netip.Addr) uint64 {
	var b [clientCookieSize + 8 + 16]byte
	copy(b[:], cookie[:clientCookieSize+8])
	if from.Is4() || from.Is4In6() {
		a := from.As4()
		return k.hash(b[:16+copy(b[16:], a[:])])
	}
	a := from.As16()
	copy(b[16:], a[:])
	return k.hash(b[:])
}
