package dnsserver

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
)

// TestRFC8906 asks what RFC 8906 section 8 asks of every server, with another implementation's client and its judgement.
func TestRFC8906(t *testing.T) {
	nettest.Need(t)
	dig, err := exec.LookPath("dig")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dig is missing: install bind9-dnsutils")
		}
		t.Skip("dig is missing: install bind9-dnsutils")
	}
	startServer(t, "[::1]:53")
	const zone, name = "edge.example.", "a.b.edge.example."
	tests := []struct {
		name, args string
		want       []string // parts of dig's output
		not        []string
	}{
		{"plain", "+noedns +noad +norec soa " + zone, []string{"status: NOERROR", "flags: qr aa;", "ANSWER: 1"}, []string{"OPT"}},
		{"unknown type", "+noedns +noad +norec type1000 " + zone, []string{"status: NOERROR", "flags: qr aa;", "ANSWER: 0, AUTHORITY: 1"}, []string{"OPT"}},
		{"CD", "+noedns +noad +norec +cd soa " + zone, []string{"status: NOERROR", "flags: qr aa;"}, nil},
		{"AD", "+noedns +norec +ad soa " + zone, []string{"status: NOERROR", "flags: qr aa;"}, nil},
		{"RD", "+noedns +noad +rec soa " + zone, []string{"status: NOERROR", "flags: qr aa rd;"}, nil},
		{"last header bit", "+noedns +noad +norec +zflag soa " + zone, []string{"status: NOERROR", "flags: qr aa;"}, []string{"MBZ"}},
		{"unknown opcode", "+noedns +noad +opcode=15 +norec +header-only " + zone, []string{"status: NOTIMP", "opcode: RESERVED15", "flags: qr;"}, []string{"OPT"}},
		{"TCP", "+noedns +noad +norec +tcp soa " + zone, []string{"status: NOERROR", "flags: qr aa;"}, nil},
		{"EDNS", "+edns=0 +nocookie +noad +norec soa " + zone, []string{"status: NOERROR", "flags: qr aa;", "EDNS: version: 0, flags:; udp: 1232"}, nil},
		{"EDNS 1", "+edns=1 +noednsneg +nocookie +noad +norec soa " + zone, []string{"status: BADVERS", "EDNS: version: 0", "ANSWER: 0"}, []string{"SOA\t"}},
		{"EDNS option", "+edns=0 +ednsopt=100 +nocookie +noad +norec soa " + zone, []string{"status: NOERROR", "EDNS: version: 0"}, []string{"OPT=100"}},
		{"EDNS 1 option", "+edns=1 +noednsneg +ednsopt=100 +nocookie +noad +norec soa " + zone, []string{"status: BADVERS", "EDNS: version: 0"}, []string{"OPT=100"}},
		{"EDNS flag", "+edns=0 +ednsflags=0x80 +nocookie +noad +norec soa " + zone, []string{"status: NOERROR", "EDNS: version: 0, flags:;"}, []string{"MBZ"}},
		{"DO", "+edns=0 +dnssec +nocookie +noad +norec soa " + zone, []string{"status: NOERROR", "flags: do; udp: 1232"}, nil},
		{"DO with cookie", "+edns=0 +dnssec +cookie +noad +norec soa " + zone, []string{"status: NOERROR", "flags: do; udp: 1232", "(good)"}, nil},
		{"cookie alone", "+header-only +cookie +noad +norec", []string{"status: NOERROR", "QUERY: 0, ANSWER: 0", "(good)"}, nil},
		{"cookie over TCP", "+tcp +cookie +noad +norec soa " + zone, []string{"status: NOERROR", "(good)"}, nil},
		{"keepalive", "+tcp +keepalive +nocookie +noad +norec soa " + zone, []string{"status: NOERROR", "TCP KEEPALIVE: 10.0"}, nil},
		{"keepalive over UDP", "+keepalive +nocookie +noad +norec soa " + zone, []string{"status: NOERROR"}, []string{"KEEPALIVE"}},
		{"client subnet of an unknown family", "+nocookie +ednsopt=8:00030800c0 +noad +norec soa " + zone, []string{"status: REFUSED", "EDNS: version: 0"}, []string{"CLIENT-SUBNET"}},
		{"512 and DO", "+edns=0 +dnssec +bufsize=512 +nocookie +noad +norec +ignore ns " + zone, []string{"status: NOERROR", "flags: do;"}, nil},
		{
			"list of options", "+edns=0 +nsid +expire +subnet=192.0.2.0/24 +cookie +noad +norec soa " + zone,
			[]string{"status: NOERROR", `NSID: 6d 65 63 2d 31 ("mec-1")`, "CLIENT-SUBNET: 192.0.2.0/24/0", "(good)"}, []string{"EXPIRE"},
		},
		{"list of options over TCP", "+tcp +edns=0 +nsid +expire +subnet=192.0.2.0/24 +cookie +noad +norec soa " + zone, []string{"status: NOERROR", `("mec-1")`}, nil},
		{"EDNS 1 over TCP", "+tcp +edns=1 +noednsneg +nocookie +noad +norec soa " + zone, []string{"status: BADVERS", "EDNS: version: 0"}, nil},
		{"id.server", "+short ch txt id.server.", []string{`"mec-1"`}, nil},
		{"address", "+short aaaa " + name, []string{"2001:db8:1::20"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-r", "@::1", "+timeout=5", "+tries=1"}, strings.Fields(tt.args)...)
			out, err := exec.Command(dig, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("dig %s: %v\n%s", tt.args, err, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("dig %s: lacks %q", tt.args, want)
				}
			}
			for _, not := range append(tt.not, "malformed", "WARNING: Message", "mismatch") {
				if strings.Contains(string(out), not) {
					t.Errorf("dig %s: has %q", tt.args, not)
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
