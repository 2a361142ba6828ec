package main

import (
	"fmt"
	"strings"
	"testing"
)

// Answers over UDP are never so long that they need fragments, whatever the client says it takes (RFC 9715); what does not
// fit is marked, keeps its OPT record, and comes whole over TCP.
func TestSizes(t *testing.T) {
	clients := []digger{newDigger(t, "dig"), newDigger(t, "kdig")}
	var many, servers strings.Builder
	for i := range 16 {
		fmt.Fprintf(&many, `{address: "2001:db8:1::%x"}, `, i+1)
	}
	label := strings.Repeat("a", 60)
	for i := range 30 {
		fmt.Fprintf(&servers, "      - {name: %02d%s.example.}\n", i, label)
	}
	start(t, strings.Replace(strings.Replace(conformanceConfig,
		"services:", "services:\n  - {name: "+label+".edge.example., answers: 16, endpoints: ["+many.String()+"]}", 1),
		"      - {name: ns.backup.example.}\n", servers.String(), 1))
	for _, tt := range []struct {
		args string
		most int // octets
		cut  bool
	}{
		{"+noedns edge.example. SOA", 512, false},
		{"+noedns " + label + ".edge.example. AAAA", 512, true},
		{"+edns=0 +bufsize=512 +dnssec " + label + ".edge.example. AAAA", 512, true},
		{"+edns=0 +bufsize=600 " + label + ".edge.example. AAAA", 600, false},
		{"+noedns edge.example. NS", 512, true},
		{"+edns=0 +bufsize=512 edge.example. NS", 512, true},
		{"+edns=0 +bufsize=1232 edge.example. NS", 1232, true},
		{"+edns=0 +bufsize=1280 edge.example. NS", 1232, true},
		{"+edns=0 +bufsize=4096 +dnssec edge.example. NS", 1232, true},
		{"+edns=0 +bufsize=65535 +nsid edge.example. NS", 1232, true},
	} {
		for _, d := range clients {
			over := d.ask(t, "::1", "+notcp "+tt.args)
			if cut := strings.HasPrefix(over.text, "NOERROR aa tc\n"); cut != tt.cut || over.size > tt.most || over.size == 0 {
				t.Errorf("%s %s: %d octets, at most %d wanted, cut %v", d.name, tt.args, over.size, tt.most, cut)
			}
			if edns := strings.Contains(over.text, ednsLine0); edns == strings.Contains(tt.args, "+noedns") {
				t.Errorf("%s %s: OPT record %v", d.name, tt.args, edns)
			}
			whole := d.ask(t, "::1", "+tcp "+tt.args)
			if !strings.HasPrefix(whole.text, "NOERROR aa\n") || tt.cut && whole.size <= over.size {
				t.Errorf("%s +tcp %s: %d octets", d.name, tt.args, whole.size)
			}
		}
	}
}
