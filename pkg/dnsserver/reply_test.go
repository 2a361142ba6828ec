package dnsserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// badMessages are messages that are dropped, or answered with a header alone. Fuzzing starts from them too.
func badMessages() []struct {
	name, message, want string
	dropped             dropReason
} {
	const id = "\x12\x67"
	question := "\x03api\x04edge\x07example\x00\x00\x1c\x00\x01"
	return []struct {
		name, message, want string
		dropped             dropReason
	}{
		{name: "empty", message: "", dropped: tooShort},
		{name: "less than a header", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00", dropped: tooShort},
		{name: "an answer", message: id + "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question, dropped: notAQuery},
		{name: "a broken answer", message: id + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", dropped: notAQuery},
		{name: "opcode 15", message: id + "\x79\x20\x00\x01\x00\x00\x00\x00\x00\x00" + question, want: id + "\xf9\x04\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "NOTIFY", message: id + "\x24\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question, want: id + "\xa0\x04\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "no question", message: id + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", want: id + "\x81\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "two questions", message: id + "\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00" + question + question, want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "question missing", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "question cut", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question[:7], want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "type and class missing", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question[:len(question)-4], want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "fewer records than announced", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" + question, want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "pointer into the header", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x02\x00\x1c\x00\x01", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "record missing", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" + question + "\x00\x00", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "label of 64", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x40" + strings.Repeat("a", 64) + "\x00\x00\x1c\x00\x01", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "name of 257", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x3f"+strings.Repeat("a", 63), 4) + "\x00\x00\x1c\x00\x01", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "pointer to itself", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x1c\x00\x01", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x00"},
		{name: "option cut", message: id + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01" + question + "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x05\x00\x03\x00\x09x", want: id + "\x80\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"},
	}
}

func TestBadMessages(t *testing.T) {
	s := testSnapshot(t, testContent(true))
	for _, tt := range badMessages() {
		t.Run(tt.name, func(t *testing.T) {
			for _, p := range []proto{udp, tcp} {
				out, x := reply(s, nil, []byte(tt.message), p, testClient)
				if diff := cmp.Diff([]byte(tt.want), out); diff != "" && len(tt.want)+len(out) > 0 {
					t.Errorf("reply (-want +got):\n%s", diff)
				}
				if x.dropped != tt.dropped || tt.want != "" && x.rcode != int(tt.want[3]) {
					t.Errorf("counted as %+v", x)
				}
			}
		})
	}
}

// Whatever fits is sent whole; else what is sent is marked and fits.
func TestTruncation(t *testing.T) {
	c := testContent(true)
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("2001:db8:3::%x up", i))
	}
	c.Services = append(c.Services, testService("many.edge.example.", 16, many...), testService("most.edge.example.", 40, many...))
	for i := range 20 {
		name := fmt.Sprintf("ns%02d-of-many-name-servers.edge.example.", i)
		c.Zones[0].NS = append(c.Zones[0].NS, NS{Name: name, Addresses: addrs("2001:db8:53::53", "192.0.2.53")})
	}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	tests := []struct {
		name              string
		query             *dns.Msg
		proto             proto
		limit             int
		answers, extra    int // at least; extra counts the OPT record
		truncated, option bool
	}{
		{name: "16 without EDNS", query: ask("many.edge.example. AAAA"), limit: 512, answers: 16},
		{name: "40 without EDNS", query: ask("most.edge.example. AAAA"), limit: 512, answers: 15, truncated: true},
		{name: "40 at 512", query: ask("most.edge.example. AAAA", edns(512, nsid)), limit: 512, answers: 15, extra: 1, truncated: true, option: true},
		{name: "40 at 0 is 512", query: ask("most.edge.example. AAAA", edns(0)), limit: 512, answers: 15, extra: 1, truncated: true, option: true},
		{name: "40 at 4096 is 1232", query: ask("most.edge.example. AAAA", edns(4096)), limit: 1232, answers: 40, extra: 1, option: true},
		{name: "40 over TCP", query: ask("most.edge.example. AAAA"), proto: tcp, limit: 65535, answers: 40},
		{name: "NS at 1232: glue is left out", query: ask("edge.example. NS", edns(1232)), limit: 1232, answers: 22, extra: 1, option: true},
		{name: "NS without EDNS", query: ask("edge.example. NS"), limit: 512, answers: 8, truncated: true},
		{name: "NS over TCP", query: ask("edge.example. NS", edns(512)), proto: tcp, limit: 65535, answers: 22, extra: 43, option: true},
	}
	s := testSnapshot(t, c)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := reply(s, make([]byte, 65535), pack(t, tt.query), tt.proto, testClient)
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil || len(out) > tt.limit {
				t.Fatalf("%d octets, limit %d, unpack: %v", len(out), tt.limit, err)
			}
			if m.Truncated != tt.truncated || len(m.Answer) < tt.answers || len(m.Extra) != tt.extra || (m.IsEdns0() != nil) != tt.option {
				t.Errorf("tc %v, %d answers, %d additional: want %+v", m.Truncated, len(m.Answer), len(m.Extra), tt)
			}
		})
	}
}

// The texts of extended errors are the first to go.
func TestTextIsLeftOut(t *testing.T) {
	c := testContent(true)
	var many []string
	for i := range 15 {
		many = append(many, fmt.Sprintf("2001:db8:3::%x down", i))
	}
	c.Services = append(c.Services, testService("many.edge.example.", 15, many...))
	out, _ := reply(testSnapshot(t, c), nil, pack(t, ask("many.edge.example. AAAA", edns(512))), udp, testClient)
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	got := showOption(m.IsEdns0())
	if want := "edns 0 udp 1232, ede 0 \n"; got != want || len(m.Answer) != 15 || m.Truncated {
		t.Errorf("%d answers, tc %v, %swant 15, no tc, %s", len(m.Answer), m.Truncated, got, want)
	}
}
