package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/lab"
)

// routers of other makers, and what shows that they work.
var routers = []struct {
	lab, program, pkg string
	node              string
	ask               []string
	want              string
}{
	{"quickstart-frr", "/usr/lib/frr/bgpd", "frr", "r1", []string{"vtysh", "-c", "show bgp summary json"}, `"totalPeers":3`},
	{"sessions", "/usr/lib/frr/bgpd", "frr", "r0", []string{"vtysh", "-c", "show bgp ipv6 2001:db8:80::80/128"}, "Paths: (4 available"},
	{"bird", "bird", "bird2", "r0", []string{"birdc", "show", "route", "for", "2001:db8:80::80"}, "2001:db8:80::80/128"},
}

// The programs of Debian are routers of a lab as root, and as nobody in particular; they end with it.
func TestRouters(t *testing.T) {
	for _, r := range routers {
		t.Run(r.lab, func(t *testing.T) {
			needRoot(t)
			nettest.Program(t, r.program, r.pkg)
			name, file := copyLab(t, r.lab, r.lab)
			mustEdgelab(t, "up", file)
			defer func() { mustEdgelab(t, "down", name) }()
			if out := mustEdgelab(t, append([]string{"exec", name, r.node, "--"}, r.ask...)...); !strings.Contains(out, r.want) {
				t.Errorf("no %s", r.want)
			}
		})
		t.Run(r.lab+"-without-root", func(t *testing.T) {
			nettest.Program(t, r.program, r.pkg)
			name, file := copyLab(t, r.lab, r.lab)
			as := asNobody(t, file)
			if out, err := as(append([]string{"exec", name, r.node, "--"}, r.ask...)...); err != nil || !strings.Contains(out, r.want) {
				t.Errorf("%v, no %s", err, r.want)
			}
			if _, err := as("down", name); err != nil {
				t.Error(err)
			}
		})
	}
}

// A service that dies at one of a site's two hosts is taken over by another host, whoever announces and routes. The
// bounds are those of a machine that does a lot beside.
func TestRunBehindRouters(t *testing.T) {
	tests := []struct{ dir, lab, program, pkg string }{
		{"quickstart-frr", "quickstart-frr", "/usr/lib/frr/bgpd", "frr"},
		{"quickstart-frr", "quickstart-frr-withdraw", "/usr/lib/frr/bgpd", "frr"},
		{"quickstart-frr", "quickstart-frr-exabgp", "exabgp", "exabgp"},
		{"bird", "bird", "bird", "bird2"},
	}
	for _, tt := range tests {
		t.Run(tt.lab, func(t *testing.T) {
			needRoot(t)
			nettest.Program(t, tt.program, tt.pkg)
			_, file := copyLab(t, tt.dir, tt.lab)
			dir := t.TempDir()
			mustEdgelab(t, "run", file, "service-kill", "--runs", "1", "--seed", "1", "--out", dir)
			data, err := os.ReadFile(filepath.Join(dir, "result.json"))
			if err != nil {
				t.Fatal(err)
			}
			var r lab.Result
			if err := json.Unmarshal(data, &r); err != nil {
				t.Fatal(err)
			}
			if len(r.Runs) != 1 {
				t.Fatalf("%d runs, want 1", len(r.Runs))
			}
			m := r.Runs[0]
			if !strings.HasPrefix(m.SiteFrom, "mec-1-") || m.SiteTo == m.SiteFrom || m.MTTRMs > 5000 {
				t.Errorf("%s -> %s, MTTR %.1f ms: want one host of mec-1, then another one, within 5 s", m.SiteFrom, m.SiteTo, m.MTTRMs)
			}
		})
	}
}
