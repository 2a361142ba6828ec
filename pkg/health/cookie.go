package health

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// The sizes of a cookie (RFC 7873 section 4), in digits of the library's hexadecimal.
const (
	clientCookie   = 2 * 8
	shortestCookie = clientCookie + 2*8
	longestCookie  = clientCookie + 2*32
)

// cookies are those of one check and the server that it asks (RFC 7873, RFC 9018), in hexadecimal. Nobody else sees ours: it must
// not follow a client from server to server.
type cookies struct {
	from   netip.Addr // our address: they are not sent from another one (RFC 9018 section 3)
	client string     // ours; empty: not made yet
	server string     // what the server gave us last; empty: nothing
	none   time.Time  // until then none is sent, since the server knows none
}

// of begins anew when our address is not what it was.
func (k *cookies) of(from netip.Addr) {
	if k.from != from {
		*k = cookies{from: from}
	}
}

// next is what the next query brings along; empty: nothing.
func (k *cookies) next(now time.Time) string {
	if now.Before(k.none) {
		return ""
	}
	if k.client == "" {
		var b [clientCookie / 2]byte
		_, _ = rand.Read(b[:]) // never fails
		k.client = hex.EncodeToString(b[:])
	}
	return k.client + k.server
}

// learn takes the server's cookie from an answer, whatever its rcode. Unlike: it has none where the server gave one before, and so
// is to be discarded (RFC 7873 section 5.3); whoever answers then is as good as unknown.
func (k *cookies) learn(query, m *dns.Msg, now time.Time) (unlike bool) {
	sent, got := cookieOf(query), cookieOf(m)
	switch {
	case sent == "":
	case len(got) > clientCookie:
		k.server = got[clientCookie:]
	case len(sent) > clientCookie:
		*k = cookies{from: k.from}
		return true
	default:
		*k = cookies{from: k.from, none: now.Add(spared)}
	}
	return false
}

// cookieOf returns the cookie in a message; of several the first counts (RFC 7873 section 5.3). Empty: it has none.
func cookieOf(m *dns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	for _, o := range opt.Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			return c.Cookie
		}
	}
	return ""
}

// foreign tells that the cookie of an answer is not one to the cookie that was sent.
func foreign(got, sent string) bool {
	if len(got) != clientCookie && (len(got) < shortestCookie || len(got) > longestCookie) {
		return true
	}
	return got[:clientCookie] != sent[:clientCookie]
}
