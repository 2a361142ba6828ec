package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/dnsapi"
)

// adminConfig is testConfig with a socket for orders, in dir, views, and explanations for this host.
func adminConfig(dir string) string {
	return testConfig + `admin: {socket: ` + filepath.Join(dir, "dns.sock") + `, drains: ` + filepath.Join(dir, "drains.json") + `}
explain: {allow: ["::1/128"]}
views:
  - {name: inside, clients: ["::1/128"]}
  - {name: outside, clients: ["::/0", 0.0.0.0/0], instead: [{service: api.edge.example., addresses: ["2001:db8:53::80"]}]}
`
}

// operate asks the edgedns in dir, and wants a status.
func operate(t *testing.T, dir string, want int, args ...string) string {
	t.Helper()
	status, stdout, stderr := runOnce(t, append(args, "--socket", filepath.Join(dir, "dns.sock"))...)
	if status != want || (stderr != "") != (want == 1) {
		t.Errorf("%v: status %d, want %d, stderr %q", args, status, want, stderr)
	}
	return stdout + stderr
}

// spans makes of what depends on the time of the test, or on the kernel, always the same.
func spans(text string) string {
	text = regexp.MustCompile(`\b\d+s\b`).ReplaceAllString(text, "0s")
	text = regexp.MustCompile(`since \d{4}-\S+Z`).ReplaceAllString(text, "since TIME")
	text = regexp.MustCompile(`edgedns [^,]*,`).ReplaceAllString(text, "edgedns VERSION,")
	return regexp.MustCompile(`/\S+/`).ReplaceAllString(text, "DIR/")
}

// An operator asks why, drains an endpoint, reloads, restarts, and takes the drain back.
func TestOperate(t *testing.T) {
	nettest.Need(t)
	dir := t.TempDir()
	path := configFile(t, adminConfig(dir))
	pod(t, "127.0.0.1:7001")
	pod(t, "127.0.0.2:7001")
	t.Run("first", func(t *testing.T) {
		lines := startFile(t, path)
		eventually(t, "api.edge.example.", dns.TypeA, both)
		eventually(t, "_explain.api.edge.example.", dns.TypeTXT, `NOERROR "127.0.0.1"/0 "127.0.0.2"/0 "2001:db8:1::10"/0 "site=mec-1"/0`)
		operateFirst(t, dir)
		reload(t, path, adminConfig(dir), lines, taken)
		if got := operate(t, dir, 0, "services", "api.edge.example"); !strings.Contains(got, "up,draining") {
			t.Errorf("after a reload:\n%s", got)
		}
		reload(t, path, strings.Replace(adminConfig(dir), "drains:", "drain:", 1), lines, refused)
		if got := operate(t, dir, 0, "services"); !strings.Contains(got, "NOT RELOADED ") {
			t.Errorf("after a bad reload:\n%s", got)
		}
	})
	if err := os.WriteFile(path, []byte(adminConfig(dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("again", func(t *testing.T) {
		startFile(t, path)
		if got := operate(t, dir, 0, "services", "api.edge.example"); !strings.Contains(got, "draining: by request since ") {
			t.Errorf("after a restart:\n%s", got)
		}
		want := "127.0.0.1 of api.edge.example. is answered again when it is up\n"
		if got := operate(t, dir, 0, "undrain", "api.edge.example", "127.0.0.1"); got != want {
			t.Errorf("undrain: %s", got)
		}
		if got := operate(t, dir, 0, "services", "api.edge.example."); strings.Contains(got, "draining") {
			t.Errorf("after undrain:\n%s", got)
		}
	})
	if got := operate(t, dir, 1, "services"); !strings.Contains(got, "no edgedns at ") {
		t.Errorf("when it is gone: %s", got)
	}
}

func operateFirst(t *testing.T, dir string) {
	t.Helper()
	for _, tt := range []struct {
		status int
		args   string
		want   string
	}{
		{0, "services", `site mec-1, edgedns VERSION, listening on [::1]:53 127.0.0.1:53
DIR/dns.yaml loaded 0s ago

SERVICE            POLICY  ANSWERS  ENDPOINTS  UP  DRAINING  PANIC
api.edge.example.  rr      2        3          3   0         -
`},
		{0, "query API.edge.example A", `api.edge.example. A for ::1 at site mec-1, view inside
NOERROR: picked 2 of 2 endpoints by rr

ADDRESS    PORT  STATE  FOR  WEIGHT  SHARE  LOAD-AGE  PICKED  REASON
127.0.0.1  7001  up     0s   1       50.0%  -         yes     tcp: ok
127.0.0.2  7001  up     0s   1       50.0%  -         yes     tcp: ok

ANSWER
  api.edge.example. 5 IN A 127.0.0.1
  api.edge.example. 5 IN A 127.0.0.2
`},
		{0, "query api.edge.example --client 10.1.2.3 --subnet 2001:db8::/56", `api.edge.example. AAAA for 10.1.2.3 asking for 2001:db8::/56 at site mec-1, view outside
NOERROR: picked 1 of 1 endpoints by rr

ADDRESS          PORT  STATE  FOR  WEIGHT  SHARE   LOAD-AGE  PICKED  REASON
2001:db8:53::80  -     up     -    1       100.0%  -         yes     -

ANSWER
  api.edge.example. 5 IN AAAA 2001:db8:53::80
`},
		{2, "query no.edge.example TXT", "no.edge.example. TXT for ::1 at site mec-1, view inside\nNXDOMAIN: there is no such name in the zone\n"},
		{1, "query api.edge.example X", "edgedns: type \"X\": is no type, such as AAAA\n"},
		{1, "query api.edge.example --client x", "edgedns: --client x: must be an IP address\n"},
		{1, "query api.edge.example --subnet x", "edgedns: --subnet x: must be a prefix, such as 2001:db8::/56\n"},
		{1, "query api.edge.example -o xml", "edgedns: --output xml: must be table or json\n"},
		{1, "services no.edge.example", "edgedns: service \"no.edge.example\": not found\n"},
		{1, "drain no.edge.example 127.0.0.1", "edgedns: service \"no.edge.example\": not found\n"},
		{1, "drain api.edge.example 127.0.0.9", "edgedns: endpoint 127.0.0.9 of service api.edge.example.: not found\n"},
		{1, "drain api.edge.example pod-1", "edgedns: pod-1: must be the address of an endpoint\n"},
		{1, "undrain api.edge.example 127.0.0.9", "edgedns: endpoint 127.0.0.9 of service api.edge.example.: not found\n"},
		{0, "drain api.edge.example 127.0.0.1", "127.0.0.1 of api.edge.example. gets nothing new until undrain, also after a restart\n"},
		{0, "query api.edge.example A", `api.edge.example. A for ::1 at site mec-1, view inside
NOERROR: picked 1 of 2 endpoints by rr

ADDRESS    PORT  STATE        FOR  WEIGHT  SHARE   LOAD-AGE  PICKED  REASON
127.0.0.1  7001  up,draining  0s   1       -       -         -       draining: by request since TIME; tcp: ok
127.0.0.2  7001  up           0s   1       100.0%  -         yes     tcp: ok

ANSWER
  api.edge.example. 1 IN A 127.0.0.2
`},
	} {
		if diff := cmp.Diff(tt.want, sorted(spans(operate(t, dir, tt.status, strings.Fields(tt.args)...)))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.args, diff)
		}
	}
	var d dnsapi.Decision
	if err := json.Unmarshal([]byte(operate(t, dir, 0, "query", "api.edge.example", "A", "-o", "json")), &d); err != nil || len(d.Candidates) != 2 || d.Candidates[0].Draining == "" {
		t.Errorf("as JSON: %+v, %v", d, err)
	}
	if got := ask(t, "api.edge.example.", dns.TypeA); got != "NOERROR 127.0.0.2/1" {
		t.Errorf("a client is answered %q", got)
	}
}

// sorted puts the records of an answer, whose turns begin anywhere, in order.
func sorted(text string) string {
	const first, second = "  api.edge.example. 5 IN A 127.0.0.1\n", "  api.edge.example. 5 IN A 127.0.0.2\n"
	return strings.Replace(text, second+first, first+second, 1)
}

// A log that was moved away goes on in a new file with a reload; one that cannot be opened is refused, and the old one stays.
func TestQueryLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "queries.jsonl")
	logged := testConfig + "query_log: {file: " + file + ", sample: 1}\n"
	path := configFile(t, logged)
	lines := startFile(t, path)
	if got := ask(t, "no.edge.example.", dns.TypeTXT); got != "NXDOMAIN" && got != "SERVFAIL" {
		t.Fatalf("answered %s", got)
	}
	holds := func(file string) {
		t.Helper()
		for range 1000 {
			if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), `"client":"::1","proto":"udp","name":"no.edge.example.","type":"TXT"`) {
				return
			}
			time.Sleep(10 * time.Millisecond) // it is written behind the answer
		}
		t.Errorf("no line in %s", file)
	}
	holds(file)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	reload(t, path, logged, lines, taken)
	reload(t, path, strings.Replace(logged, file, filepath.Join(dir, "missing", "q"), 1), lines, refused)
	ask(t, "no.edge.example.", dns.TypeTXT)
	holds(file)
	if page := scrape(t); !strings.Contains(page, `anyedge_dns_query_log_entries_total{result="dropped"} 0`) {
		t.Error("the metrics do not tell")
	}
}

// The socket's path comes from the file that the program runs with.
func TestOperateByConfig(t *testing.T) {
	path := configFile(t, adminConfig(t.TempDir()))
	status, _, stderr := runOnce(t, "services", "--config", path)
	if status != 1 || !strings.Contains(stderr, "no edgedns at ") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
	status, _, stderr = runOnce(t, "services", "--config", configFile(t, testConfig))
	if status != 1 || !strings.Contains(stderr, "names no socket to ask: add admin: {socket: /run/anyedge/dns.sock}") {
		t.Errorf("status %d, stderr %s", status, stderr)
	}
}

// What cannot be kept is not done.
func TestDrainsFile(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDrains(bad); err == nil || !strings.Contains(err.Error(), "remove it, or mend it") {
		t.Errorf("a bad file: %v", err)
	}
	d, err := openDrains(filepath.Join(dir, "missing", "drains.json"))
	if err != nil {
		t.Fatal(err)
	}
	one := drain{Service: "api.edge.example."}
	if err := d.set(one, true, time.Unix(1767225600, 0).UTC()); err == nil || len(d.list) != 0 {
		t.Errorf("drained %v though it cannot be kept: %v", d.list, err)
	}
	d.file = filepath.Join(dir, "drains.json")
	for _, on := range []bool{true, true, false, false, true} {
		if err := d.set(one, on, time.Unix(1767225600, 0).UTC()); err != nil {
			t.Fatal(err)
		}
	}
	again, err := openDrains(d.file)
	if diff := cmp.Diff(d.list, again.list); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}
