package config

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/lab"
)

func FuzzParseAgent(f *testing.F) {
	fuzz(f, "edgeagent.yaml", agentFile, ParseAgent, func(t *testing.T, a Agent) {
		if a.Site == "" || len(a.BGP.Neighbors) == 0 || len(a.Services)+len(a.BGP.Pools) == 0 || (len(a.Services) == 0) != (len(a.BGP.Allowed) == 0) {
			t.Errorf("accepted %+v", a)
		}
		for _, s := range a.Services {
			if len(s.Health.Checks) == 0 || len(s.Announce.VIPs) == 0 || s.Announce.Name != s.Health.Name {
				t.Errorf("accepted service %+v", s)
			}
			for _, c := range s.Health.Checks {
				if (c.Checker == nil) == (c.Listener == nil && c.Process == nil) || c.Interval <= 0 || c.Rise < 1 || c.Fall < 1 {
					t.Errorf("accepted check %+v", c)
				}
			}
		}
	})
}

func FuzzParseDNS(f *testing.F) {
	fuzz(f, "edgedns.yaml", dnsFile, ParseDNS, func(t *testing.T, d DNS) {
		if d.Site == "" || len(d.Listen) == 0 || len(d.Zones) == 0 || len(d.Services) == 0 && d.Kubernetes == nil {
			t.Errorf("accepted %+v", d)
		}
		for _, s := range d.Services {
			if s.Name != strings.ToLower(s.Name) || len(s.Endpoints) == 0 || s.Answers < 0 {
				t.Errorf("accepted service %+v", s)
			}
			for _, c := range s.Checks {
				if s.Endpoints[c.Index].Port == 0 && !portless(c.Check.Checker) || c.Check.Checker == nil {
					t.Errorf("accepted check %+v", c)
				}
			}
		}
	})
}

func portless(c health.Checker) bool {
	switch c.(type) {
	case health.ICMP, health.Exec:
		return true
	default:
		return false
	}
}

func FuzzParseTopology(f *testing.F) {
	fuzz(f, "minimal.clab.yml", topologyFile, ParseTopology, func(t *testing.T, top lab.Topology) {
		hosts := make(map[string]bool)
		for _, n := range top.Nodes {
			hosts[n.Name] = n.Host == ""
		}
		for _, n := range top.Nodes {
			if len(n.Cmd) == 0 || n.Host != "" && !hosts[n.Host] {
				t.Errorf("accepted node %+v", n)
			}
		}
		for _, l := range top.Links {
			if !hosts[l.A.Node] || !hosts[l.B.Node] || l.A == l.B || l.Delay < 0 {
				t.Errorf("accepted link %+v", l)
			}
		}
	})
}

func FuzzParseSetup(f *testing.F) {
	fuzz(f, "router.yaml", setupFile, ParseSetup, func(t *testing.T, s lab.Setup) {
		for _, c := range s.Sysctls {
			if !strings.HasPrefix(c.Key, "net.") || strings.Contains(c.Key, "..") || strings.Contains(c.Key, "/") {
				t.Errorf("accepted sysctl %+v", c)
			}
		}
		for _, r := range s.Routes {
			if !r.To.IsValid() || !r.Via.IsValid() {
				t.Errorf("accepted route %+v", r)
			}
		}
	})
}

// fuzz feeds parse with anything. It must not panic; what it refuses it refuses with a place on every line.
func fuzz[T any](f *testing.F, file, base string, parse func(string, io.Reader) (T, error), accepted func(*testing.T, T)) {
	data, err := os.ReadFile(filepath.Join("../../docs/samples", file))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(data), base, "", "---\n---\n", "a: &a [*a]", "{<<: *x}", "? [a]\n: b", "\xff", "%YAML 9\n---", "a:\n\t- b"} {
		f.Add(seed)
	}
	place := regexp.MustCompile(`^fuzz\.yaml:[1-9][0-9]*:[1-9][0-9]*: .+: .+$`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parse("fuzz.yaml", strings.NewReader(text))
		if err == nil {
			accepted(t, v)
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !place.MatchString(line) {
				t.Errorf("no place: %q", line)
			}
		}
	})
}
