package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"time"

	"github.com/miekg/dns"
)

// tellEvery is how often at most the log names who is over the limit; metrics tell the rest.
const tellEvery = 30 * time.Second

// Protection keeps the server from being of use against others, whose addresses somebody forges.
type Protection struct {
	Cookies   Cookies
	RateLimit RateLimit
}

// A guard is Protection at work; it stands before both paths.
type guard struct {
	Protection
	jar     *jar     // nil: no cookies
	limiter *limiter // nil: no limit
	light   int      // answers of so many octets need not be weighed
	teller  *Server
}

// Protect replaces the protection. Who was limited stays so while the rate limit is the same. Safe for concurrent use.
func (s *Server) Protect(p Protection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, old := &guard{Protection: p, jar: newJar(p.Cookies, s.own), teller: s}, s.guard.Load()
	if old != nil && reflect.DeepEqual(old.RateLimit, p.RateLimit) {
		g.limiter = old.limiter
	} else {
		g.limiter = newLimiter(p.RateLimit)
	}
	g.light = g.RateLimit.light()
	s.guard.Store(g)
	if g.alone() && (old == nil || !old.alone()) {
		s.log.Warn("cookies are made with a secret of this process alone: other sites and the next start do not know it; give cookies.secret_file")
	}
}

// alone tells that there are cookies that only this process knows.
func (g *guard) alone() bool { return !g.Cookies.Off && g.Cookies.Secret == ([16]byte{}) }

// A moment is when a query came, as cookies and limits count time.
type moment struct {
	seconds uint32 // since 1970
	ticks   uint64
}

func (s *Server) moment(t time.Time) moment {
	return moment{uint32(t.Unix()), uint64(t.Sub(s.born)) / uint64(tick)}
}

// seal judges the client's cookie, and counts it.
func (g *guard) seal(c *client, t *tally, at moment) {
	if g.jar == nil || c.cookie.size == 0 {
		return
	}
	g.jar.seal(&c.cookie, c.address, at.seconds)
	t.cookies[c.cookie.who].Add(1)
}

// A sentence is what becomes of a query over the limit.
type sentence int

const (
	ignored sentence = iota
	truncated
	challenged // BADCOOKIE: whoever gets it can show that its address is its own
	acquitted  // by a dry run
)

// stop ends the way of a query whose client asked too much; out is what it gets instead of an answer, nil for nothing. Whoever holds
// our cookie is who it says, and is never stopped.
func (g *guard) stop(buf, query []byte, q *question, t *tally, at moment) (out []byte, x exchange, stop bool) {
	g.seal(&q.client, t, at)
	q.counted = false
	if g.limiter == nil || q.cookie.who == known || !isQuery(query) {
		return nil, exchange{}, false
	}
	if q.counted = !g.limiter.over(q.address, at.ticks); q.counted {
		return nil, exchange{}, false
	}
	verdict := g.verdict(&q.client, t)
	t.limits[verdict].Add(1)
	g.teller.tellLimited(q.address, at)
	switch verdict {
	case acquitted:
		return nil, exchange{}, false
	case ignored:
		return nil, exchange{dropped: limited}, true
	default:
		out, x = q.comeBack(buf, query)
		return out, x, true
	}
}

// weigh has a long answer count as several. One that is too long is for those alone who have shown that their address is their own: the
// others are told how to.
func (g *guard) weigh(out, query []byte, q *question, x exchange, t *tally, at moment) ([]byte, exchange) {
	if !q.counted || g.limiter.exempts(q.address) {
		return out, x
	}
	if most := g.RateLimit.MaxSize; most > 0 && len(out) > most {
		if !g.RateLimit.DryRun {
			t.limits[q.wayBack()].Add(1)
			back, y := q.comeBack(out, query)
			y.place = x.place
			return back, y
		}
		t.limits[acquitted].Add(1)
	}
	g.limiter.charge(q.address, at.ticks, uint64(len(out)-1)/answerUnit)
	return out, x
}

// tellLimited logs one client that asks too much, and then none for a while.
func (s *Server) tellLimited(a netip.Addr, at moment) {
	if told := s.toldLimited.Load(); at.ticks >= told && s.toldLimited.CompareAndSwap(told, at.ticks+uint64(tellEvery/tick)) {
		s.log.Warn("rate limit", "client", a, "next", tellEvery)
	}
}

func (g *guard) verdict(c *client, t *tally) sentence {
	slip := uint64(g.RateLimit.Slip)
	switch {
	case g.RateLimit.DryRun:
		return acquitted
	case slip == 0 || t.slips.Add(1)%slip != 0:
		return ignored
	default:
		return c.wayBack()
	}
}

// wayBack is how a client can show that its address is its own: it comes back at once with a cookie, if it knows of them, else over TCP.
func (c *client) wayBack() sentence {
	if c.cookie.sealed {
		return challenged
	}
	return truncated
}

// comeBack tells it to. The question comes back, too: without it nobody would take the answer for one.
func (q *question) comeBack(out, query []byte) ([]byte, exchange) {
	if q.end == 0 {
		q.readAlone(query)
	}
	x, tc := exchange{qtype: q.qtype}, true
	if q.wayBack() == challenged {
		x.rcode, tc = dns.RcodeBadCookie, false
	}
	return q.brief(out, query, x.rcode, tc), x
}

// isQuery tells whether a message is one that would be answered.
func isQuery(b []byte) bool { return len(b) >= headerSize && b[2]&0x80 == 0 }

// brief answers with the question, if it was read, and an OPT record for who sent one: what is not longer than the query by more than a
// server's cookie.
func (q *question) brief(out, query []byte, rcode int, tc bool) []byte {
	end := max(q.end, headerSize)
	out = append(out[:0], query[:end]...)
	clear(out[2:headerSize])
	out[2] = 0x80 | query[2]&0x79 // QR, and the query's opcode and RD
	if tc {
		out[2] |= 2
	}
	out[3] = byte(rcode & 0xf)
	if end > headerSize {
		out[5] = 1
	}
	begin := len(out)
	out = q.finish(out, nil, nil)
	if q.edns {
		out[begin+5] = byte(rcode >> 4)
	}
	return out
}

// onlyOPT tells that a query has nothing but an OPT record of version 0: it asks for a cookie (RFC 7873 section 5.4).
func onlyOPT(query []byte) bool {
	begin, end := findOPT(query)
	return end == len(query) && begin == headerSize+optSize && query[headerSize] == 0 && query[headerSize+6] == 0 &&
		binary.BigEndian.Uint64(query[4:]) == 1
}

// cookieAlone answers such a query.
func (c *client) cookieAlone(buf, query []byte) ([]byte, exchange) {
	rcode := dns.RcodeSuccess
	if c.cookie.who == foreign {
		rcode = dns.RcodeBadCookie
	}
	return c.bare(buf, query, rcode)
}
