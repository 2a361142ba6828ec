package dnsserver

import (
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// The secret and a client of RFC 9018 appendix A.1, at its time.
const (
	testSeconds  = 1559731985
	newCookie    = "2464c4abcf10c957"
	serverCookie = "010000005cf79f111f8130c3eee29480"
)

var testCookies = Cookies{Secret: secret("e5e973e5a6b2a43f48e7dc849e37bfcf")}

// goodCookie is what the test client gets.
var goodCookie = sealed(testCookies, newCookie, testClient.String(), testSeconds)

func secret(text string) (s [16]byte) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(s) {
		panic(text)
	}
	return [16]byte(b)
}

// sealed is the cookie that goes back.
func sealed(secrets Cookies, cookie, from string, now uint32) string {
	c := newTestCookie(cookie)
	newJar(secrets, [16]byte{}).seal(c, netip.MustParseAddr(from), now)
	return hex.EncodeToString(c.back[:])
}

func newTestCookie(text string) *cookie {
	b, err := hex.DecodeString(text)
	c := new(cookie)
	if err != nil || !c.read(b) {
		panic(text)
	}
	return c
}

func cookieOption(text string) *dns.EDNS0_COOKIE {
	return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: text}
}

// The examples of RFC 9018 appendix A; the cookie of A.3 came when it was young.
func TestCookieExamples(t *testing.T) {
	old := secret("dd3bdf9344b678b185a6f5cb60fca715")
	rolled := Cookies{Secret: secret("445536bcd2513298075a5d379663c962"), Accepted: [][16]byte{old}}
	for _, tt := range []struct {
		name    string
		secrets Cookies
		from    string
		cookie  string
		now     uint32
		who     identity
		want    string
	}{
		{"A.1 learning", testCookies, "198.51.100.100", newCookie, testSeconds, newcomer, newCookie + serverCookie},
		{"A.1 a minute later", testCookies, "198.51.100.100", newCookie + serverCookie, testSeconds + 60, known, newCookie + serverCookie},
		{"A.2 renewed", testCookies, "198.51.100.100", newCookie + serverCookie, 1559734385, known, newCookie + "010000005cf7a871d4a564a1442aca77"},
		{"A.3 reserved octets", testCookies, "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559727985, known, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"},
		{"A.3 its answer", testCookies, "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559734700, foreign, "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e"},
		{"A.4 secret rolled over", rolled, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741961, known, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
		{"A.4 secret of long ago", Cookies{Secret: rolled.Secret}, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741961, foreign, "22681ab97d52c298010000005cf7c609a6bb79d16625507a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCookie(tt.cookie)
			newJar(tt.secrets, [16]byte{}).seal(c, netip.MustParseAddr(tt.from), tt.now)
			if got := hex.EncodeToString(c.back[:]); got != tt.want || c.who != tt.who {
				t.Errorf("%s of %d, want %s of %d", got, c.who, tt.want, tt.who)
			}
		})
	}
}

func TestCookiesAreJudged(t *testing.T) {
	const from, other = "198.51.100.100", "198.51.100.101"
	next := Cookies{Secret: testCookies.Secret, Accepted: [][16]byte{secret("00000000000000000000000000000001")}}
	of := func(secrets Cookies, now uint32) string { return sealed(secrets, newCookie, from, now) }
	for _, tt := range []struct {
		name   string
		from   string
		cookie string
		now    uint32
		who    identity
		kept   bool
	}{
		{"half an hour old", from, newCookie + serverCookie, testSeconds + 1800, known, true},
		{"older", from, newCookie + serverCookie, testSeconds + 1801, known, false},
		{"an hour old", from, newCookie + serverCookie, testSeconds + 3600, known, false},
		{"too old", from, newCookie + serverCookie, testSeconds + 3601, foreign, false},
		{"of a clock that is ahead", from, newCookie + serverCookie, testSeconds - 300, known, true},
		{"of the future", from, newCookie + serverCookie, testSeconds - 301, foreign, false},
		{"the clock wraps", from, of(testCookies, 0xffffff00), 0x80, known, true},
		{"of another address", other, newCookie + serverCookie, testSeconds, foreign, false},
		{"of another client", from, "2464c4abcf10c958" + serverCookie, testSeconds, foreign, false},
		{"version 2", from, newCookie + "02" + serverCookie[2:], testSeconds, foreign, false},
		{"a bit wrong", from, newCookie + serverCookie[:31] + "1", testSeconds, foreign, false},
		{"of another kind of server", from, newCookie + "0102030405060708", testSeconds, foreign, false},
		{"longer", from, newCookie + serverCookie + "00", testSeconds, foreign, false},
		{"of the secret that is next", from, of(Cookies{Secret: next.Accepted[0]}, testSeconds), testSeconds, known, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCookie(tt.cookie)
			newJar(next, [16]byte{}).seal(c, netip.MustParseAddr(tt.from), tt.now)
			if kept := hex.EncodeToString(c.back[:]) == tt.cookie; kept != tt.kept || c.who != tt.who {
				t.Errorf("kept %v, of %d: want %v, %d", kept, c.who, tt.kept, tt.who)
			}
			again := newTestCookie(hex.EncodeToString(c.back[:]))
			newJar(testCookies, [16]byte{}).seal(again, netip.MustParseAddr(tt.from), tt.now)
			if again.who != known {
				t.Error("what went back is not good")
			}
		})
	}
}

// The vectors of SipHash's authors: key 00 01 .. 0f, input 00 01 ...
func TestSipHash(t *testing.T) {
	key := newSipKey(secret("000102030405060708090a0b0c0d0e0f"))
	var input []byte
	want := map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 7: 0xab0200f58b01d137, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5, 63: 0x958a324ceb064572,
	}
	for n := range 64 {
		if w, ok := want[n]; ok && key.hash(input) != w {
			t.Errorf("%d octets: %x, want %x", n, key.hash(input), w)
		}
		input = append(input, byte(n))
	}
}

// protected is a server with cookies and a limit, and a function that asks it as testClient at a time.
func protected(t testing.TB, p Protection) (s *Server, ask func(query *dns.Msg, at time.Duration) *dns.Msg) {
	t.Helper()
	s, err := New(Config{Site: "mec-1", Protection: p})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(testContent(true)); err != nil {
		t.Fatal(err)
	}
	count := s.metrics.shared(udp, false)
	return s, func(query *dns.Msg, at time.Duration) *dns.Msg {
		t.Helper()
		out := s.answer(make([]byte, udpPayload), pack(t, query), new(question), testClient, count, moment{testSeconds + uint32(at/time.Second), uint64(at / tick)})
		if out == nil {
			return nil
		}
		return unpack(t, out)
	}
}

func showAnswer(m *dns.Msg) string {
	if m == nil {
		return "nothing"
	}
	return show(m)
}

func TestCookiesAreAnswered(t *testing.T) {
	const address = "a.b.edge.example. 30 IN AAAA 2001:db8:1::20\n"
	alone := func(change ...func(*dns.Msg)) *dns.Msg {
		q := ask("a.b.edge.example. AAAA", change...)
		q.Question = nil
		return q
	}
	bad := newCookie + serverCookie
	_, answer := protected(t, Protection{Cookies: testCookies})
	_, without := protected(t, Protection{Cookies: Cookies{Off: true}})
	for _, tt := range []struct {
		name      string
		query     *dns.Msg
		want, off string
	}{
		{"of a new client", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie))), "NOERROR aa\n" + address + "edns 0 udp 1232, cookie " + goodCookie + "\n", "NOERROR aa\n" + address + "edns 0 udp 1232\n"},
		{"good", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(goodCookie))), "NOERROR aa\n" + address + "edns 0 udp 1232, cookie " + goodCookie + "\n", "NOERROR aa\n" + address + "edns 0 udp 1232\n"},
		{"bad", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(bad))), "NOERROR aa\n" + address + "edns 0 udp 1232, cookie " + goodCookie + "\n", "NOERROR aa\n" + address + "edns 0 udp 1232\n"},
		{"two: the first counts", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie), cookieOption("0123456789abcdef"))), "NOERROR aa\n" + address + "edns 0 udp 1232, cookie " + goodCookie + "\n", "NOERROR aa\n" + address + "edns 0 udp 1232\n"},
		{"too short", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie[2:]))), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"of no kind", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie+"01020304050607"))), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"too long", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie+serverCookie+serverCookie+"00"))), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"empty", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(""))), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"with a refusal", ask("www.example. AAAA", edns(1232, cookieOption(newCookie))), "REFUSED\nedns 0 udp 1232, ede 20 , cookie " + goodCookie + "\n", "REFUSED\nedns 0 udp 1232, ede 20 \n"},
		{"EDNS 1", ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie)), func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }), "BADVERS\nedns 0 udp 1232\n", "BADVERS\nedns 0 udp 1232\n"},
		{"alone, new", alone(edns(1232, cookieOption(newCookie))), "NOERROR\nedns 0 udp 1232, cookie " + goodCookie + "\n", "FORMERR\nedns 0 udp 1232\n"},
		{"alone, good", alone(edns(1232, cookieOption(goodCookie))), "NOERROR\nedns 0 udp 1232, cookie " + goodCookie + "\n", "FORMERR\nedns 0 udp 1232\n"},
		{"alone, bad", alone(edns(1232, cookieOption(bad))), "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n", "FORMERR\nedns 0 udp 1232\n"},
		{"alone, malformed", alone(edns(1232, cookieOption("01"))), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"no question and no cookie", alone(edns(1232)), "FORMERR\nedns 0 udp 1232\n", "FORMERR\nedns 0 udp 1232\n"},
		{"alone, EDNS 1", alone(edns(1232, cookieOption(newCookie)), func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }), "BADVERS\nedns 0 udp 1232\n", "BADVERS\nedns 0 udp 1232\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, showAnswer(answer(tt.query, 0))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.off, showAnswer(without(tt.query, 0))); diff != "" {
				t.Errorf("without cookies (-want +got):\n%s", diff)
			}
		})
	}
}

// A process without a secret has one that lasts as long as it does.
func TestOwnSecret(t *testing.T) {
	query := ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie)))
	s, answer := protected(t, Protection{})
	first := showAnswer(answer(query, 0))
	s.Protect(Protection{RateLimit: RateLimit{Rate: 1}})
	if diff := cmp.Diff(first, showAnswer(answer(query, 0))); diff != "" {
		t.Errorf("after a change (-first +now):\n%s", diff)
	}
	_, other := protected(t, Protection{})
	if showAnswer(other(query, 0)) == first {
		t.Error("two processes have the same secret")
	}
}

// FuzzCookie: any option is a format error, or is answered with a cookie that is good.
func FuzzCookie(f *testing.F) {
	for _, text := range []string{"", newCookie, newCookie + serverCookie, goodCookie, goodCookie + "00", "22681ab97d52c298010000005cf7c57926556bd0934c72f8"} {
		b, _ := hex.DecodeString(text)
		f.Add(b, uint32(testSeconds))
	}
	g := guard{jar: newJar(testCookies, [16]byte{})}
	s := testSnapshot(f, testContent(true))
	f.Fuzz(func(t *testing.T, data []byte, now uint32) {
		if len(data) > 1000 {
			return
		}
		q := pack(t, ask("api.edge.example. A", edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0COOKIE, Data: data})))
		c := client{address: testClient}
		c.scan(q)
		g.seal(&c, new(tally), moment{seconds: now})
		out, x := s.reply(nil, q, &c)
		if wrong := len(data) < 8 || len(data) > 8 && len(data) < 16 || len(data) > 40; wrong != (x.rcode == dns.RcodeFormatError) {
			t.Fatalf("%d octets: %s", len(data), dns.RcodeToString[x.rcode])
		} else if wrong {
			return
		}
		again := client{address: testClient}
		again.scan(out)
		g.seal(&again, new(tally), moment{seconds: now})
		if again.cookie.who != known || string(again.cookie.came[:8]) != string(data[:8]) {
			t.Fatalf("%x came back as %x of %d", data, again.cookie.came, again.cookie.who)
		}
	})
}
