package main

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// reload writes the file anew and has edgedns read it; it returns the line that tells how that went.
func reload(t *testing.T, path, text string, lines <-chan string, want string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(unix.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	return waitFor(t, lines, want)
}

const (
	taken   = "msg=reloaded"
	refused = `msg="not reloaded`
	both    = "NOERROR 127.0.0.1/5 127.0.0.2/5"
)

// moreConfig has one more service and one more endpoint, which nobody checks in time, before those that were there.
var moreConfig = strings.Replace(testConfig, `  - name: api.edge.example.
    answers: 2
    endpoints:
`, `  - name: new.edge.example.
    endpoints: [{address: 127.0.0.3}]
  - name: api.edge.example.
    policy: capacity
    answers: 2
    endpoints:
      - {address: 127.0.0.9, port: 7001, check: {type: tcp, interval: 1h, fast_interval: 1h, rise: 2}}
`, 1)

// Whatever is reloaded while clients ask: every answer is right, and what was known of endpoints that stay is kept.
func TestReloadUnderLoad(t *testing.T) {
	const unlimited = "rate_limit: {off: true}\n" // two clients that never rest are over the limit in a second
	path := configFile(t, testConfig+unlimited)
	lines := startFile(t, path)
	pod(t, "127.0.0.9:7001") // works, and still is not known to
	pod(t, "127.0.0.1:7001")
	pod(t, "127.0.0.2:7001")
	eventually(t, "api.edge.example.", dns.TypeA, both)
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					t.Logf("%d answers", n)
					return
				default:
				}
				if got := ask(t, "api.edge.example.", dns.TypeA); got != both {
					t.Errorf("answer %d is %q, want %q", n, got, both)
				}
			}
		})
	}
	for range 5 {
		reload(t, path, moreConfig+unlimited, lines, taken)
		if got, want := ask(t, "new.edge.example.", dns.TypeA), "NOERROR 127.0.0.3/5"; got != want {
			t.Errorf("a new service is %q, want %q", got, want)
		}
		reload(t, path, "site: [", lines, refused)
		if got, want := ask(t, "new.edge.example.", dns.TypeA), "NOERROR 127.0.0.3/5"; got != want {
			t.Errorf("after a bad file it is %q, want %q", got, want)
		}
		reload(t, path, testConfig+unlimited, lines, taken)
		if got := ask(t, "new.edge.example.", dns.TypeA); got != "NXDOMAIN" {
			t.Errorf("a service that is gone is %q, want NXDOMAIN", got)
		}
	}
	close(stop)
	clients.Wait()
}

// What cannot be taken is told with its place, and nothing of the file is applied.
func TestReloadRefused(t *testing.T) {
	path := configFile(t, testConfig)
	lines := startFile(t, path)
	eventually(t, "api.edge.example.", dns.TypeAAAA, "NOERROR 2001:db8:1::10/5")
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4)
	for _, tt := range []struct{ old, new, want string }{
		{"answers: 2", "answers: many", path + ":8:14: services[0].answers: must be a whole number"},
		{"mec-1", "mec-2", "site: changed from mec-1 to mec-2: needs a restart"},
		{`["[::1]:53", "127.0.0.1:53"]`, `["[::1]:53"]`, "listen: changed from [[::1]:53 127.0.0.1:53] to [[::1]:53]: needs a restart"},
		{"9411", "9412", "metrics.listen: changed: needs a restart"},
		{"services:", "  - {name: " + long + ", ns: [{name: ns.example.}]}\nservices:", "is too long"},
	} {
		text := strings.Replace(moreConfig, tt.old, tt.new, 1)
		if tt.old == "answers: 2" {
			text = strings.Replace(testConfig, tt.old, tt.new, 1)
		}
		if got := reload(t, path, text, lines, refused); !strings.Contains(got, tt.want) {
			t.Errorf("logged %s, want %s", got, tt.want)
		}
		if got := ask(t, "new.edge.example.", dns.TypeA); got != "NXDOMAIN" {
			t.Errorf("with %s the new service is %q, want NXDOMAIN", tt.new, got)
		}
		if page := scrape(t); !strings.Contains(page, "\nanyedge_dns_config_reload_success 0\n") {
			t.Error("the metric does not tell")
		}
	}
	reload(t, path, moreConfig, lines, taken)
	if page := scrape(t); !strings.Contains(page, "\nanyedge_dns_config_reload_success 1\n") {
		t.Error("the metric does not tell of success")
	}
}

// Files without any check come and go as others do.
func TestReloadWithoutChecks(t *testing.T) {
	plain := strings.ReplaceAll(testConfig, ", check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}", "")
	path := configFile(t, plain)
	lines := startFile(t, path)
	pod(t, "127.0.0.2:7001")
	for range 2 {
		reload(t, path, testConfig, lines, taken)
		eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.2/5")
		reload(t, path, plain, lines, taken)
		if got := ask(t, "api.edge.example.", dns.TypeA); got != both {
			t.Errorf("without checks: %q, want %q", got, both)
		}
	}
}

// A check that is edited has not told anything yet: its endpoint waits for it.
func TestReloadEditedCheck(t *testing.T) {
	path := configFile(t, testConfig)
	lines := startFile(t, path)
	pod(t, "127.0.0.1:7001")
	pod(t, "127.0.0.2:7001")
	eventually(t, "api.edge.example.", dns.TypeA, both)
	edited := strings.Replace(testConfig, "7001, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1", "7002, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1", 1)
	reload(t, path, edited, lines, taken)
	if got, want := ask(t, "api.edge.example.", dns.TypeA), "NOERROR 127.0.0.2/5"; got != want {
		t.Errorf("at once: %q, want %q", got, want)
	}
	pod(t, "127.0.0.1:7002")
	eventually(t, "api.edge.example.", dns.TypeA, both)
}

// What each key may say, and the server would not serve.
func TestCheckConfigCompiles(t *testing.T) {
	path := configFile(t, strings.Replace(testConfig, "services:", "  - {name: "+strings.Repeat(strings.Repeat("a", 60)+".", 4)+", ns: [{name: ns.example.}]}\nservices:", 1))
	status, _, stderr := runOnce(t, "--config", path, "--check-config")
	if status != 1 || !strings.HasPrefix(stderr, "edgedns: "+path+":4:3: zones: zone aaa") || !strings.Contains(stderr, "is too long") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
}
