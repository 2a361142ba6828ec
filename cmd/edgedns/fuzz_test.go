package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
)

// FuzzReload puts one file in force after another: what is read without an error can be served, whatever was served before
// and whatever is known of its endpoints; what is refused is refused before anything has changed.
func FuzzReload(f *testing.F) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "docs", "samples", "edgedns.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(testConfig), []byte(conformanceConfig), byte(1))
	f.Add(sample, []byte(testConfig), byte(2))
	f.Add([]byte(testConfig), []byte(strings.Replace(testConfig, "answers: 2", "policy: hash", 1)), byte(3))
	f.Add([]byte(testConfig), []byte("site: mec-1\n"), byte(0))
	f.Fuzz(func(t *testing.T, first, second []byte, states byte) {
		server, err := dnsserver.New(dnsserver.Config{Site: "mec-1"})
		if err != nil {
			t.Fatal(err)
		}
		var served *source
		for _, file := range [][]byte{first, second, first} {
			cfg, err := parseFile(t, file)
			if err != nil {
				if err.Error() == "" {
					t.Fatal("refused without a word")
				}
				continue
			}
			next := &source{cfg: cfg, drains: new(drains), ways: make(ways), synced: served != nil && served.synced}
			var status []health.Status
			seen := make(map[string]bool)
			for i, s := range checks(cfg.Services) {
				if seen[s.Name] {
					t.Fatalf("two checks are called %s", s.Name)
				}
				seen[s.Name] = true
				status = append(status, health.Status{Service: s.Name, State: health.State(states >> (i % 4 * 2) & 3)})
			}
			if err := server.Set(next.content(status)); err != nil {
				t.Fatalf("was read, and cannot be served: %v\n%s", err, file)
			}
			served = next
		}
	})
}

// parseFile is load without a file.
func parseFile(t *testing.T, text []byte) (config.DNS, error) {
	t.Helper()
	return config.ParseDNS("fuzz.yaml", strings.NewReader(string(text)))
}
