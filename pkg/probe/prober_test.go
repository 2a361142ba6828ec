package probe

import (
	"bytes"
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/internal/nettest"
)

// probeOf runs a prober to its end.
func probeOf(t *testing.T, ctx context.Context, cfg ProberConfig) Report {
	t.Helper()
	p, err := NewProber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	consistent(t, r)
	return r
}

// consistent holds for every report.
func consistent(t *testing.T, r Report) {
	t.Helper()
	answers, lost := 0, 0
	for _, n := range r.BySite {
		answers += n
	}
	for _, o := range r.Outages {
		lost += o.Lost
	}
	if r.Received+r.Lost != r.Sent || r.Sent > r.Scheduled || answers != r.Received || lost != r.Lost {
		t.Errorf("scheduled %d, sent %d, received %d, lost %d; sites %v, outages %v", r.Scheduled, r.Sent, r.Received, r.Lost, r.BySite, r.Outages)
	}
}

func TestProberAndResponder(t *testing.T) {
	nettest.Need(t)
	r, _ := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0", "127.0.0.1:0")})
	for _, target := range r.Addrs() {
		report := probeOf(t, t.Context(), ProberConfig{Target: target, Source: target.Addr(), Interval: time.Millisecond, Duration: 50 * time.Millisecond})
		if report.Scheduled != 50 || report.Received == 0 || report.Lost != 0 || report.Errors != 0 || report.Ignored != 0 {
			t.Errorf("%s: %+v", target, report)
		}
		if rtt := report.RTTBySiteMs["mec-1"]; rtt != report.RTTMs || rtt.P50 <= 0 || rtt.Max < rtt.P99 || rtt.P99 < rtt.P50 {
			t.Errorf("%s: RTT %+v of %+v", target, rtt, report.RTTMs)
		}
		if report.Mode != "udp" || report.Target != target.String() || report.StartMonoNs <= 0 || report.Ended.Before(report.Started) {
			t.Errorf("%s: %+v", target, report)
		}
	}
}

// One site goes, another one comes at the same address: the prober notices both as they happen.
func TestProberSeesSiteChange(t *testing.T) {
	nettest.Need(t)
	first, stopFirst := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen, followed := make(chan Event, 64), make(chan struct{})
	go func() {
		defer close(followed)
		var told []string
		for e := range seen {
			if e.Event == "progress" {
				continue
			}
			switch told = append(told, e.Event+e.State+e.Site); told[len(told)-1] {
			case "sitemec-1":
				stopFirst()
			case "outagestartmec-1":
				start(t, ResponderConfig{Site: "mec-2", Listen: first.Addrs()})
			case "sitemec-2":
				cancel()
			}
		}
	}()
	report := probeOf(t, ctx, ProberConfig{Target: first.Addrs()[0], Interval: time.Millisecond, OnEvent: func(e Event) { seen <- e }})
	close(seen)
	<-followed
	i := 0
	for i < len(report.Outages) && report.Outages[i].ToSite != "mec-2" {
		i++
	}
	if i == len(report.Outages) {
		t.Fatalf("no outage to mec-2 in %+v", report)
	}
	o := report.Outages[i]
	if o.FromSite != "mec-1" || o.GapMs < 20 || o.LastAnswerMonoNs >= o.FirstAnswerMonoNs || o.StartMonoNs < report.StartMonoNs {
		t.Errorf("outage %+v", o)
	}
	if report.Errors == 0 || report.LastError != "connection refused" {
		t.Errorf("errors %d, last %q; want those of ICMP", report.Errors, report.LastError)
	}
}

// No route, then no address: the prober goes on, and the responder that waits for its address answers once it is there.
func TestProberOutlivesMissingRoutes(t *testing.T) {
	nettest.Need(t)
	for _, family := range []struct{ address, bits string }{{"2001:db8::80", "/128"}, {"192.0.2.80", "/32"}} {
		target := netip.AddrPortFrom(netip.MustParseAddr(family.address), 7000)
		start(t, ResponderConfig{Site: "mec-1", Listen: []netip.AddrPort{target}})
		ctx, cancel := context.WithCancel(t.Context())
		added := false
		report := probeOf(t, ctx, ProberConfig{Target: target, Interval: time.Millisecond, OnEvent: func(e Event) {
			switch {
			case e.Event == "site":
				cancel()
			case e.Sent > 0 && !added:
				added = true
				nettest.AddAddress(t, family.address+family.bits)
			}
		}})
		if report.BySite["mec-1"] == 0 || report.Errors == 0 || report.LastError != "network is unreachable" || report.Lost == 0 {
			t.Errorf("%s: %+v", target, report)
		}
	}
}

func TestProberWithoutResponder(t *testing.T) {
	nettest.Need(t)
	report := probeOf(t, t.Context(), ProberConfig{Target: netip.MustParseAddrPort("127.0.0.1:9"), Interval: time.Millisecond, Duration: 20 * time.Millisecond})
	if report.Lost != report.Sent || report.Errors == 0 || len(report.BySite) != 0 || len(report.Outages) != 1 {
		t.Errorf("%+v", report)
	}
}

// Answers count only from the target's address and port, and only to this run.
func TestProberIgnoresStrangers(t *testing.T) {
	nettest.Need(t)
	service, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var p Packet
		for buf := make([]byte, Size); ; {
			_, from, err := service.ReadFrom(buf)
			if err != nil || p.UnmarshalBinary(buf) != nil {
				return
			}
			say := func(as net.PacketConn, site string, run uint64) {
				p.Kind, p.Run = KindReply, run
				_ = p.SetSite(site)
				b, _ := p.AppendBinary(nil)
				_, _ = as.WriteTo(b, from)
			}
			run := p.Run
			say(stranger, "stranger", run)
			say(service, "other-run", run+1)
			_, _ = service.WriteTo([]byte("junk"), from)
			say(service, "mec-1", run)
		}
	}()
	target := service.LocalAddr().(*net.UDPAddr).AddrPort()
	report := probeOf(t, t.Context(), ProberConfig{Target: target, Interval: time.Millisecond, Duration: 20 * time.Millisecond})
	_ = service.Close()
	<-done
	if len(report.BySite) != 1 || report.BySite["mec-1"] != report.Sent || report.Ignored != 3*report.Sent {
		t.Errorf("%+v", report)
	}
}

// serveDNS runs a DNS server as mec-1; it answers by handle.
func serveDNS(t *testing.T, handle func(query *dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	server := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		if r := handle(m); r != nil {
			_ = w.WriteMsg(r)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestProberByDNS(t *testing.T) {
	nettest.Need(t)
	var n atomic.Int64
	target := serveDNS(t, func(m *dns.Msg) *dns.Msg {
		r := dnsResponse(t, pack(t, m), "mec-1")
		switch n.Add(1) % 10 {
		case 3:
			r.Rcode, r.Answer = dns.RcodeServerFailure, nil
		case 4:
			return nil
		case 5:
			r.Extra = nil
		}
		return r
	})
	report := probeOf(t, t.Context(), ProberConfig{
		Target: target, Interval: time.Millisecond, Duration: 50 * time.Millisecond, Question: &Question{"api.edge.example.", "AAAA"},
	})
	if report.Sent == 50 && (report.Failed != 5 || report.Lost != 10 || report.BySite["mec-1"] != 35 || report.BySite[noSite] != 5) {
		t.Errorf("%+v", report)
	}
	if report.Mode != "dns" || report.Received == 0 || report.Failed == 0 {
		t.Errorf("%+v", report)
	}
}

func TestQuery(t *testing.T) {
	nettest.Need(t)
	server := serveDNS(t, func(m *dns.Msg) *dns.Msg { return dnsResponse(t, pack(t, m), "mec-1") })
	got, err := Query(t.Context(), server, Question{"api.edge.example", "AAAA"})
	if err != nil || got.RTTMs <= 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Site != "mec-1" || got.Rcode != "NOERROR" || got.Server != server.String() || got.Name != "api.edge.example." || got.Type != "AAAA" {
		t.Errorf("%+v", got)
	}
	want := Record{Name: "api.edge.example.", TTL: 5, Type: "AAAA", Value: "2001:db8:1::10"}
	if len(got.Answers) != 1 || got.Answers[0] != want {
		t.Errorf("answers %+v, want %+v", got.Answers, want)
	}
}

func TestQueryGetsNoAnswer(t *testing.T) {
	nettest.Need(t)
	asked := make(chan struct{}, 1)
	silent := serveDNS(t, func(*dns.Msg) *dns.Msg { asked <- struct{}{}; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := Query(ctx, silent, Question{"a.", "A"}); err == nil || !strings.Contains(err.Error(), silent.String()+": no answer after ") {
		t.Errorf("silent server: %v", err)
	}
	if _, err := Query(t.Context(), netip.MustParseAddrPort("[::1]:9"), Question{"a.", "A"}); err == nil || err.Error() != "server [::1]:9: connection refused" {
		t.Errorf("closed port: %v", err)
	}
}

func TestBadProberConfigs(t *testing.T) {
	t.Parallel()
	good := ProberConfig{Target: netip.MustParseAddrPort("[::1]:7000"), Interval: time.Second}
	for _, tt := range []struct {
		change func(*ProberConfig)
		want   string
	}{
		{func(c *ProberConfig) { c.Target = netip.AddrPort{} }, "target invalid AddrPort: want the ADDRESS:PORT of a service"},
		{func(c *ProberConfig) { c.Target = netip.MustParseAddrPort("[::1]:0") }, "target [::1]:0: want the ADDRESS:PORT of a service"},
		{func(c *ProberConfig) { c.Target = netip.MustParseAddrPort("[::]:1") }, "target [::]:1: want the ADDRESS:PORT of a service"},
		{func(c *ProberConfig) { c.Target = netip.MustParseAddrPort("[ff02::1]:1") }, "target [ff02::1]:1: a multicast address: want that of a service"},
		{func(c *ProberConfig) { c.Source = netip.MustParseAddr("127.0.0.1") }, "source 127.0.0.1: not of the same address family as the target [::1]:7000"},
		{func(c *ProberConfig) { c.Interval = 0 }, "interval 0s: want 100µs to 1m0s"},
		{func(c *ProberConfig) { c.Interval = time.Hour }, "interval 1h0m0s: want 100µs to 1m0s"},
		{func(c *ProberConfig) { c.Duration = -1 }, "duration -1ns: want 0 (until interrupted) or more"},
		{func(c *ProberConfig) { c.Points = 99 }, "points 99: want 100 to 100000"},
		{func(c *ProberConfig) { c.Question = &Question{"a.", "NOPE"} }, `DNS type "NOPE": unknown: want one as AAAA, A, SOA, TXT`},
	} {
		cfg := good
		tt.change(&cfg)
		if _, err := NewProber(cfg); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestProberCannotStart(t *testing.T) {
	nettest.Need(t)
	for _, tt := range []struct{ target, source, want string }{
		{"[::1]:7000", "2001:db8::99", "source 2001:db8::99: cannot assign requested address"},
		{"[fe80::1%nope]:7000", "", "target [fe80::1%nope]:7000: interface nope: no such network interface"},
	} {
		cfg := ProberConfig{Target: netip.MustParseAddrPort(tt.target), Interval: time.Second}
		if tt.source != "" {
			cfg.Source = netip.MustParseAddr(tt.source)
		}
		p, err := NewProber(cfg)
		if err == nil {
			_, err = p.Run(t.Context())
		}
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

func TestReplySource(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":    {"", ""},
		"garbage":    {"ffff", ""},
		"IPv4":       {"1c00000000000000" + "00000000" + "08000000" + "05000000" + "c0000201" + "c0000201" + "00000000", "1c00000000000000" + "00000000" + "08000000" + "00000000" + "c0000201" + "c0000201" + "00000000"},
		"IPv6":       {"2400000000000000" + "29000000" + "32000000" + "20010db8000000000000000000000001" + "05000000" + "00000000", "2400000000000000" + "29000000" + "32000000" + "20010db8000000000000000000000001" + "00000000" + "00000000"},
		"link-local": {"2400000000000000" + "29000000" + "32000000" + "fe800000000000000000000000000001" + "05000000" + "00000000", "2400000000000000" + "29000000" + "32000000" + "fe800000000000000000000000000001" + "05000000" + "00000000"},
	} {
		in, err := hex.DecodeString(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := hex.DecodeString(tt.want)
		if got := replySource(in); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
}
