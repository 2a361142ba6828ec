// Package anyedge_test keeps the rules of the house (docs/design/0001-rooms.md): which room may import which.
package anyedge_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/anyedge/anyedge/"

// mayImport lists for every room the rooms of ours that its non-test files may import directly. A room that is missing
// here fails the test: it must be thought about first. "*" stands for any.
var mayImport = map[string][]string{
	"pkg/health":        {},
	"pkg/bgp":           {},
	"pkg/bgp/router":    {},
	"pkg/bgp/bgptest":   {"internal/nettest"}, // both are for tests
	"pkg/vip":           {},
	"pkg/siteapi":       {"internal/unixapi"},
	"pkg/dnsapi":        {"internal/unixapi"},
	"pkg/steering":      {},
	"pkg/probe":         {},
	"pkg/app":           {"pkg/probe"},
	"pkg/client":        {"pkg/probe"},
	"pkg/announce":      {"pkg/health", "pkg/bgp"},
	"pkg/dnsserver":     {"pkg/steering"},
	"pkg/discovery":     {"pkg/steering"},
	"pkg/bfd":           {},
	"pkg/kube":          {"pkg/steering"},
	"pkg/kube/kubetest": {"internal/nettest"},
	"pkg/bridge":        {},
	"pkg/peers":         {},
	"pkg/session":       {"pkg/bgp", "pkg/bfd"},
	"pkg/lab":           {"pkg/probe", "pkg/bgp/router", "pkg/bfd", "pkg/session"},
	"internal/benchdns": {"pkg/dnsserver", "pkg/steering", "pkg/kube/kubetest"},
	"internal/kubedemo": {"pkg/kube/kubetest", "pkg/bgp/router", "internal/nettest"},
	"internal/config":   {"pkg/*"},
	"internal/nettest":  {}, "internal/debughttp": {}, "internal/program": {},
	"internal/manual": {}, "internal/unixapi": {}, "internal/table": {}, "internal/sdnotify": {},
	"internal/report": {"pkg/probe"}, "internal/report/labreport": {"internal/report", "pkg/lab"}, "internal/report/reporttest": {},
	"cmd/edgeagent": {"*"}, "cmd/edgedns": {"*"}, "cmd/edgeprobe": {"*"}, "cmd/edgectl": {"*"}, "cmd/edgelab": {"*"},
}

// only lists foreign packages and the rooms that may know them.
var only = map[string][]string{
	"github.com/osrg/gobgp/":     {"pkg/bgp", "pkg/bgp/router", "pkg/bgp/bgptest"},
	"go.yaml.in/yaml/":           {"internal/config"},
	"github.com/google/nftables": {"pkg/bridge", "pkg/lab"},
	"github.com/miekg/dns":       {"pkg/dnsserver", "pkg/health", "pkg/probe", "internal/benchdns"},
	"k8s.io/client-go/":          {"pkg/kube"},
	"k8s.io/api/":                {"pkg/kube", "pkg/kube/kubetest", "internal/benchdns"},
	"k8s.io/apimachinery/":       {"pkg/kube", "pkg/kube/kubetest", "internal/benchdns"},
	"github.com/spf13/cobra":     {"cmd/*", "internal/manual", "internal/benchdns"},
	"flag":                       {"cmd/*", "internal/nettest"},
	"os/signal":                  {"cmd/*", "internal/kubedemo"},
	"github.com/prometheus/client_golang/prometheus/promhttp": {"internal/debughttp", "pkg/app"},
}

// stdOnly are rooms that import nothing but the standard library.
var stdOnly = []string{"pkg/steering"}

type goPackage struct {
	ImportPath string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("room %s has no rule: add it to mayImport, with a reason in docs/design", room)
			continue
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				if !matches(ours, allowed) {
					t.Errorf("%s imports %s: it may import only %v", room, ours, allowed)
				}
				continue
			}
			for foreign, rooms := range only {
				if (imported == foreign || strings.HasSuffix(foreign, "/") && strings.HasPrefix(imported, foreign)) && !matches(room, rooms) {
					t.Errorf("%s imports %s: only %v may", room, imported, rooms)
				}
			}
			if slices.Contains(stdOnly, room) && strings.Contains(imported, ".") {
				t.Errorf("%s imports %s: it may import only the standard library", room, imported)
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package documentation", p.ImportPath)
		}
	}
}

func matches(room string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(room, prefix)
		}
		return path.Clean(pattern) == room
	})
}

// packages returns the module's packages that have non-test files.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var found []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if len(p.GoFiles) > 0 {
			found = append(found, p)
		}
	}
}
