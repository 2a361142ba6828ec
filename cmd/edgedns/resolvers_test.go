package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/internal/nettest"
)

// The resolvers of other makes that stand between edgedns and clients in these tests, as strict as they can be: what they
// do not like of our answers, clients get as SERVFAIL or late.

// unbound starts unbound at address, and has it send what it asks about the zone to edgedns. It mixes upper and lower case
// and wants it back (0x20), asks label by label and believes the first NXDOMAIN (RFC 9156, RFC 8020); server has more of
// its configuration.
func unbound(t *testing.T, address, zone, server string) *nettest.Daemon {
	t.Helper()
	path := nettest.Program(t, "unbound", "unbound")
	nettest.AddAddress(t, address+"/128")
	return nettest.StartDaemon(t, "start of service", path, "-d", "-c", textFile(t, "unbound.conf", `
server:
  interface: `+address+`
  access-control: ::/0 allow
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  verbosity: 2
  num-threads: 1
  use-caps-for-id: yes
  qname-minimisation-strict: yes
  harden-below-nxdomain: yes
  harden-large-queries: yes
  harden-referral-path: no
  harden-algo-downgrade: yes
  do-ip4: no
  `+server+`
remote-control:
  control-enable: no
`+zone))
}

const (
	stubZone    = "stub-zone:\n  name: edge.example.\n  stub-addr: 2001:db8:53::53\n"
	forwardZone = "forward-zone:\n  name: edge.example.\n  forward-addr: 2001:db8:53::53\n"
)

// bind starts BIND's named at address, with the zone as part of its configuration.
func bind(t *testing.T, address, zone, options string) *nettest.Daemon {
	t.Helper()
	path := nettest.Program(t, "named", "bind9")
	nettest.AddAddress(t, address+"/128")
	return nettest.StartDaemon(t, " running", path, "-g", "-c", textFile(t, "named.conf", `
options {
  directory "`+t.TempDir()+`";
  pid-file none; session-keyfile none; lock-file none;
  listen-on { none; }; listen-on-v6 { `+address+`; };
  recursion yes; allow-query { any; };
  dnssec-validation no; qname-minimization strict; max-cache-size 16M; empty-zones-enable no;
  `+options+`
};
controls { };
`+zone))
}

const (
	staticStub  = `zone "edge.example" { type static-stub; server-addresses { 2001:db8:53::53; }; };`
	bindForward = `zone "edge.example" { type forward; forward only; forwarders { 2001:db8:53::53; }; };`
)

func textFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// atAnycast is a configuration that listens at the anycast address too, which lo gets until the test ends.
func atAnycast(t *testing.T, config string) string {
	nettest.AddAddress(t, "2001:db8:53::53/128")
	return strings.Replace(config, `listen: ["[::1]:53"`, `listen: ["[2001:db8:53::53]:53", "[::1]:53"`, 1)
}

// TestResolvers asks resolvers of two other makes, both as they are usually set up and as forwarders: their clients get
// what edgedns says, and are told to keep it for no longer.
func TestResolvers(t *testing.T) {
	nettest.Need(t)
	dig := newDigger(t, "dig")
	startConforming(t, atAnycast(t, conformanceConfig))
	caps := []*nettest.Daemon{
		unbound(t, "2001:db8:e::1", stubZone, ""),
		unbound(t, "2001:db8:e::2", forwardZone, ""),
		unbound(t, "2001:db8:e::3", stubZone, "module-config: \"subnetcache validator iterator\"\n  send-client-subnet: 2001:db8:53::53\n  tcp-upstream: yes"),
	}
	bind(t, "2001:db8:e::4", staticStub, "")
	bind(t, "2001:db8:e::5", bindForward, "require-server-cookie no;")
	const negative = "authority edge.example. TTL IN SOA ns.edge.example. hostmaster.edge.example. SERIAL 3600 600 86400 5\n"
	for _, tt := range []struct{ question, want string }{
		{"+noauthority no.such.name.edge.example. AAAA", "NXDOMAIN rd ra\n"}, // asked label by label, BIND has no SOA record then
		{"no.edge.example. AAAA", "NXDOMAIN rd ra\n" + negative},
		{"b.c.edge.example. AAAA", "NOERROR rd ra\n" + negative},
		{"a.b.c.edge.example. AAAA", "NOERROR rd ra\na.b.c.edge.example. TTL IN AAAA 2001:db8:1::20\n"},
		{"a.b.c.edge.example. A", "NOERROR rd ra\n" + negative},
		{"api.edge.example. A", "NOERROR rd ra\napi.edge.example. TTL IN A 10.1.0.10\n"},
		{"api.edge.example. AAAA", "NOERROR rd ra\napi.edge.example. TTL IN AAAA 2001:db8:1::10\n"},
		{"ApI.EDGE.example. TXT", "NOERROR rd ra\nApI.EDGE.example. TTL IN TXT \"site=mec-1\" \"policy=rr\"\n"},
		{"api.edge.example. HTTPS", "NOERROR rd ra\n" + negative},
		{"api.edge.example. TYPE999", "NOERROR rd ra\n" + negative},
		{"_web._udp.six.edge.example. SRV", "NOERROR rd ra\n_web._udp.six.edge.example. TTL IN SRV 0 1 8443 ip-2001-db8-1--6.six.edge.example.\n"},
		{"ip-2001-db8-1--6.six.edge.example. AAAA", "NOERROR rd ra\nip-2001-db8-1--6.six.edge.example. TTL IN AAAA 2001:db8:1::6\n"},
		{"hash.edge.example. AAAA", "NOERROR rd ra\nhash.edge.example. TTL IN AAAA 2001:db8:3::1\n"},
		{"sick.edge.example. AAAA", "NOERROR rd ra\nsick.edge.example. TTL IN AAAA ::1\n"},
		{"edge.example. SOA", "NOERROR rd ra\nedge.example. TTL IN SOA ns.edge.example. hostmaster.edge.example. SERIAL 3600 600 86400 5\n"},
		{"edge.example. DNSKEY", "NOERROR rd ra\n" + negative},
		{"x.api.edge.example. AAAA", "NXDOMAIN rd ra\n" + negative},
	} {
		for n := 1; n <= 5; n++ {
			server := fmt.Sprintf("2001:db8:e::%d", n)
			got := dig.ask(t, server, "+noedns +rdflag +noadditional "+tt.question)
			if diff := cmp.Diff(tt.want, anyTTL(got.text)); diff != "" {
				t.Errorf("%s @%s (-want +got):\n%s", tt.question, server, diff)
			}
		}
	}
	for _, d := range caps {
		if log := d.String(); strings.Contains(log, "Capsforid") || strings.Contains(log, "incorrect") {
			t.Errorf("unbound saw its case changed:\n%s", log)
		}
	}
}

var ttl = regexp.MustCompile(` ([0-5]) IN `)

// anyTTL brings TTLs, which resolvers count down, into one form if they are no longer than edgedns says: its zone's 5 s.
func anyTTL(text string) string { return ttl.ReplaceAllString(text, " TTL IN ") }
