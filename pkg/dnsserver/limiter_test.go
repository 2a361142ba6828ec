package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

const ticksPerSecond = uint64(time.Second / tick)

// passed asks n times over a time, evenly, each time from the next address, and returns how many are not over the limit.
func passed(l *limiter, n int, begin, span time.Duration, from func(i int) netip.Addr) (ok int) {
	for i := range n {
		at := begin + span*time.Duration(i)/time.Duration(n)
		if !l.over(from(i), uint64(at/tick)) {
			ok++
		}
	}
	return ok
}

func always(a string) func(int) netip.Addr {
	return func(int) netip.Addr { return netip.MustParseAddr(a) }
}

// spread returns addresses that differ in the bits from one length to another.
func spread(a string, from, to int) func(int) netip.Addr {
	return func(i int) netip.Addr {
		p := netip.MustParseAddr(a)
		b := p.AsSlice()
		for bit := to - 1; bit >= from; bit-- {
			b[bit/8] |= byte(i&1) << (7 - bit%8)
			i >>= 1
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
}

// An address has what it has saved at once, then its rate; networks have multiples of both.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from     func(int) netip.Addr
		multiple int
	}{
		{name: "one IPv6 address", from: always("2001:db8::1"), multiple: 1},
		{name: "/64", from: spread("2001:db8::", 110, 128), multiple: 2},
		{name: "/56", from: spread("2001:db8::", 56, 64), multiple: 3},
		{name: "/48", from: spread("2001:db8::", 48, 64), multiple: 4},
		{name: "/32", from: spread("2001:db8::", 32, 48), multiple: 64},
		{name: "one IPv4 address", from: always("192.0.2.1"), multiple: 1},
		{name: "/24", from: spread("192.0.2.0", 24, 32), multiple: 32},
		{name: "/20", from: spread("192.0.0.0", 20, 32), multiple: 256},
		{name: "/18", from: spread("192.0.0.0", 18, 32), multiple: 768},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const rate, burst = 10, 25
			l := newLimiter(RateLimit{Rate: rate, Burst: burst})
			if got, want := passed(l, 4*burst*tt.multiple, 0, time.Millisecond, tt.from), burst*tt.multiple; !near(got, want) {
				t.Errorf("%d at once, want %d", got, want)
			}
			if got, want := passed(l, 100*rate*tt.multiple, time.Second, 10*time.Second, tt.from), 11*rate*tt.multiple; !near(got, want) {
				t.Errorf("%d in the next 11 s, want %d", got, want)
			}
			if got, want := passed(l, 4*burst*tt.multiple, time.Hour, time.Millisecond, tt.from), burst*tt.multiple; !near(got, want) {
				t.Errorf("%d after a rest, want %d", got, want)
			}
			if got := passed(l, rate*tt.multiple*20, 2*time.Hour, 20*time.Second, tt.from); got != rate*tt.multiple*20 {
				t.Errorf("of %d at exactly the rate %d pass", rate*tt.multiple*20, got)
			}
		})
	}
}

// near allows for ticks, and for what a millisecond brings back.
func near(got, want int) bool { return got >= want-want/50-1 && got <= want+want/50+1 }

// Who is over the limit does not use up what others have, nor its own rate.
func TestLimitedQueriesCostNothing(t *testing.T) {
	l := newLimiter(RateLimit{Rate: 50, Burst: 125})
	if got := passed(l, 1e6, 0, time.Second, always("2001:db8::1")); !near(got, 175) {
		t.Errorf("the greedy one: %d, want 175", got)
	}
	if got := passed(l, 1000, time.Second, time.Millisecond, always("2001:db8::2")); !near(got, 125) {
		t.Errorf("its neighbor: %d, want 125", got)
	}
}

func TestExempt(t *testing.T) {
	l := newLimiter(RateLimit{Rate: 1, Burst: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("192.0.2.1/32")}})
	for a, want := range map[string]int{"2001:db8::1": 100, "2001:db8:0:1::1": 1, "192.0.2.1": 100, "192.0.2.2": 1} {
		if got := passed(l, 100, 0, time.Millisecond, always(a)); got != want {
			t.Errorf("%s: %d of 100, want %d", a, got, want)
		}
	}
}

// A flood from addresses all over does not make the limiter forget who asks too much, nor does it hit who does not.
func TestFloodOfForgedAddresses(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := newLimiter(RateLimit{Rate: 50, Burst: 125})
	greedy, modest := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::1")
	const seconds, flood = 2, 200_000
	var got, hit int
	for i := range seconds * flood {
		now := uint64(i) * ticksPerSecond / flood
		a := netip.AddrFrom16([16]byte{0x2a, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 15: byte(r.Uint32())})
		l.over(a, now)
		if i%(flood/1000) == 0 && !l.over(greedy, now) { // 1000 in a second
			got++
		}
		if i%(flood/25) == 0 && l.over(modest, now) {
			hit++
		}
	}
	if want := 125 + seconds*50; got < want-1 || got > want*3/2 {
		t.Errorf("the greedy one got %d, want %d to %d", got, want, want*3/2)
	}
	if hit > 0 {
		t.Errorf("the modest one was hit %d times", hit)
	}
}

// Times wrap; a slot that was written long before never blocks.
func TestTicksWrap(t *testing.T) {
	l := newLimiter(RateLimit{Rate: 50, Burst: 125})
	const wrap = 1 << timeBits
	a := netip.MustParseAddr("2001:db8::1")
	for _, now := range []uint64{wrap - 10, wrap, wrap + 10, 2*wrap - 1} {
		for range 5 {
			if l.over(a, now) {
				t.Fatalf("over at %d", now)
			}
		}
	}
	if got := passed(l, 1000, time.Duration(wrap/2)*tick, time.Millisecond, always("2001:db8::1")); !near(got, 125) {
		t.Errorf("half a turn later: %d, want 125", got)
	}
}

// Loops that meet on one address let about as much through as one would.
func TestLimitConcurrently(t *testing.T) {
	l := newLimiter(RateLimit{Rate: 1, Burst: 10000})
	a := netip.MustParseAddr("2001:db8::1")
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10000 {
				if !l.over(a, 0) {
					ok.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := ok.Load(); n < 10000 || n > 15000 {
		t.Errorf("%d of 40000, want 10000 and some", n)
	}
}

// What becomes of queries over the limit: of a stranger, of one who brings a cookie, of one who answers the challenge.
func TestSentences(t *testing.T) {
	const address = "NOERROR aa\na.b.edge.example. 30 IN AAAA 2001:db8:1::20\n"
	const truncated, nothing = "NOERROR tc\n", "nothing"
	plain := ask("a.b.edge.example. AAAA", func(q *dns.Msg) { q.RecursionDesired = true })
	withEDNS := ask("A.b.edge.example. AAAA", edns(1232), func(q *dns.Msg) { q.IsEdns0().SetDo() })
	fresh := ask("a.b.edge.example. AAAA", edns(1232, cookieOption(newCookie)))
	good := ask("a.b.edge.example. AAAA", edns(1232, cookieOption(goodCookie)))
	unusual := ask("id.server. CH TXT", edns(1232, cookieOption(newCookie)))
	for _, tt := range []struct {
		name  string
		limit RateLimit
		query *dns.Msg
		want  []string // answers in turn, all at the same time
	}{
		{"slip 1", RateLimit{Rate: 1, Burst: 1, Slip: 1}, plain, []string{"NOERROR aa rd\n" + address[len("NOERROR aa\n"):], "NOERROR tc rd\n", "NOERROR tc rd\n"}},
		{"slip 2", RateLimit{Rate: 1, Burst: 2, Slip: 2}, withEDNS, []string{"", "", nothing, truncated + "edns 0 udp 1232 do\n", nothing, truncated + "edns 0 udp 1232 do\n"}},
		{"slip 0", RateLimit{Rate: 1, Burst: 1}, plain, []string{"", nothing, nothing}},
		{"a new cookie", RateLimit{Rate: 1, Burst: 1, Slip: 1}, fresh, []string{address + "edns 0 udp 1232, cookie " + goodCookie + "\n", "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n"}},
		{"a new cookie, slip 2", RateLimit{Rate: 1, Burst: 1, Slip: 2}, fresh, []string{"", nothing, "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n"}},
		{"a good cookie", RateLimit{Rate: 1, Burst: 1, Slip: 1}, good, []string{"", "", address + "edns 0 udp 1232, cookie " + goodCookie + "\n"}},
		{"a dry run", RateLimit{Rate: 1, Burst: 1, Slip: 1, DryRun: true}, plain, []string{"", "", "NOERROR aa rd\n" + address[len("NOERROR aa\n"):]}},
		{"another class", RateLimit{Rate: 1, Burst: 1, Slip: 1}, unusual, []string{"", "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, answer := protected(t, Protection{testCookies, tt.limit})
			for i, want := range tt.want {
				if got := showAnswer(answer(tt.query, 0)); want != "" && got != want {
					t.Errorf("answer %d (-want +got):\n%s", i, cmp.Diff(want, got))
				}
			}
		})
	}
}

// What was limited is counted; what is no query is not limited, and uses nothing up.
func TestLimitsAreCounted(t *testing.T) {
	s, answer := protected(t, Protection{testCookies, RateLimit{Rate: 1, Burst: 1, Slip: 2}})
	count := s.metrics.shared(udp, false)
	for range 5 {
		answer(ask("a.b.edge.example. AAAA"), 0)
		answer(ask("a.b.edge.example. AAAA", edns(1232, cookieOption(goodCookie))), 0)
		answer(ask("a.b.edge.example. AAAA", func(q *dns.Msg) { q.Response = true }), 0)
	}
	got := fmt.Sprint(count.limits[ignored].Load(), count.limits[truncated].Load(), dropped(s, limited), dropped(s, notAQuery), count.cookies[known].Load())
	if want := "2 2 2 5 5"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

// Who is limited stays so when other things change.
func TestProtectKeepsTheCount(t *testing.T) {
	limit := RateLimit{Rate: 1, Burst: 1, Slip: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	s, answer := protected(t, Protection{testCookies, limit})
	query := ask("a.b.edge.example. AAAA")
	answer(query, 0)
	s.Protect(Protection{RateLimit: limit})
	if got := showAnswer(answer(query, 0)); got != "NOERROR tc\n" {
		t.Errorf("after a change of cookies: %s", got)
	}
	limit.Burst = 2
	s.Protect(Protection{RateLimit: limit})
	if got := showAnswer(answer(query, 0)); got == "NOERROR tc\n" {
		t.Errorf("after a change of the limit: %s", got)
	}
}

// longContent has a service whose answers are long: with EDNS 494 octets for AAAA, 920 for SRV, 1177 for HTTPS.
func longContent() Content {
	c := bindContent()
	sv := testService("long.edge.example.", 16)
	for i := range 16 {
		sv.Endpoints = append(sv.Endpoints, steering.Endpoint{Address: netip.MustParseAddr(fmt.Sprintf("2001:db8:3::%x", i)), Port: 7000 + uint16(i), State: steering.Up})
	}
	sv.ALPN, sv.PortName, sv.Protocol = []string{"h2"}, "web", "tcp"
	c.Services = append(c.Services, sv)
	return c
}

// outline is an answer without its records.
func outline(m *dns.Msg) string {
	if m == nil || len(m.Answer) == 0 {
		return showAnswer(m)
	}
	return fmt.Sprintf("%s %d", dns.RcodeToString[m.Rcode], len(m.Answer))
}

// What is too long for a stranger gets it to show that its address is its own, on both paths.
func TestLongAnswers(t *testing.T) {
	const back = "NOERROR tc\n"
	aaaa := func(change ...func(*dns.Msg)) *dns.Msg { return ask("long.edge.example. AAAA", change...) }
	srv := func(change ...func(*dns.Msg)) *dns.Msg { return ask("_web._tcp.long.edge.example. SRV", change...) }
	exempt := []netip.Prefix{netip.MustParsePrefix("2001:db8:c::/48")}
	for _, tt := range []struct {
		name  string
		limit RateLimit
		query *dns.Msg
		want  string
	}{
		{"no bound", RateLimit{}, srv(edns(1232)), "NOERROR 16"},
		{"short", RateLimit{MaxSize: 482}, ask("a.b.edge.example. AAAA"), "NOERROR 1"},
		{"just as long", RateLimit{MaxSize: 483}, aaaa(), "NOERROR 16"},
		{"longer", RateLimit{MaxSize: 482}, aaaa(), back},
		{"with EDNS", RateLimit{MaxSize: 512}, srv(edns(1232)), back + "edns 0 udp 1232\n"},
		{"signed, which is not for the hot path", RateLimit{MaxSize: 482}, aaaa(func(m *dns.Msg) { m.SetTsig("key.", dns.HmacSHA256, 300, 0) }, edns(1232)), back + "edns 0 udp 1232\n"},
		{"with a new cookie", RateLimit{MaxSize: 512}, aaaa(edns(1232, cookieOption(newCookie))), "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n"},
		{"with a bad cookie", RateLimit{MaxSize: 512}, srv(edns(1232, cookieOption(newCookie+serverCookie))), "BADCOOKIE\nedns 0 udp 1232, cookie " + goodCookie + "\n"},
		{"with a good cookie", RateLimit{MaxSize: 128}, srv(edns(1232, cookieOption(goodCookie))), "NOERROR 16"},
		{"exempt", RateLimit{MaxSize: 128, Exempt: exempt}, srv(edns(1232)), "NOERROR 16"},
		{"a dry run", RateLimit{MaxSize: 128, DryRun: true}, srv(edns(1232)), "NOERROR 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.limit.Rate, tt.limit.Burst = 100, 100
			s, answer := protected(t, Protection{testCookies, tt.limit})
			if err := s.Set(longContent()); err != nil {
				t.Fatal(err)
			}
			got := answer(tt.query, 0)
			if diff := cmp.Diff(tt.want, outline(got)); diff != "" || len(got.Question) != 1 {
				t.Errorf("question %v (-want +got):\n%s", got.Question, diff)
			}
			count := s.metrics.shared(udp, false)
			counted := fmt.Sprint(count.limits[truncated].Load(), count.limits[challenged].Load(), count.limits[acquitted].Load())
			want := map[byte]string{'N': "0 0 0", 'B': "0 1 0"}[tt.want[0]]
			switch {
			case strings.HasPrefix(tt.want, back):
				want = "1 0 0"
			case tt.limit.DryRun:
				want = "0 0 1"
			}
			if counted != want {
				t.Errorf("counted %s, want %s", counted, want)
			}
		})
	}
}

// An answer counts as one for each 512 octets that it begins.
func TestLongAnswersCountMore(t *testing.T) {
	const burst = 12
	for question, want := range map[string]int{
		"a.b.edge.example. AAAA": burst, "long.edge.example. AAAA": burst, "_web._tcp.long.edge.example. SRV": burst / 2, "long.edge.example. HTTPS": burst / 3,
	} {
		for _, dry := range []bool{false, true} {
			s, answer := protected(t, Protection{testCookies, RateLimit{Rate: 1, Burst: burst, DryRun: dry}})
			if err := s.Set(longContent()); err != nil {
				t.Fatal(err)
			}
			within := 0
			for range 3 * burst {
				before := s.metrics.shared(udp, false).limits[acquitted].Load()
				if answer(ask(question, edns(1232)), 0) != nil && s.metrics.shared(udp, false).limits[acquitted].Load() == before {
					within++
				}
			}
			if within != want {
				t.Errorf("%s, dry run %v: %d answers, want %d", question, dry, within, want)
			}
			// Once what the last one owes is paid, the rate counts answers of this kind.
			if got := answer(ask(question, edns(1232)), time.Duration(burst)*time.Second); got == nil {
				t.Errorf("%s: nothing after a rest", question)
			}
		}
	}
}
