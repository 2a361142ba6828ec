package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// testConfig has two pods that are checked, and one that counts as up.
const testConfig = `site: mec-1
listen: ["[::1]:53", "127.0.0.1:53"]
zones:
  - {name: edge.example., min_ttl: 5s,
    ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
services:
  - name: api.edge.example.
    answers: 2
    endpoints:
      - {address: 127.0.0.1, port: 7001, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}}
      - {address: 127.0.0.2, port: 7001, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}}
      - {address: "2001:db8:1::10"}
metrics: {listen: "[::1]:9411"}
`

func configFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dns.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs edgedns until the test ends, and then wants it to exit with 0.
func start(t testing.TB, config string) {
	t.Helper()
	startFile(t, configFile(t, config))
}

// startFile is start with a file that may change; it returns what edgedns logs from then on.
func startFile(t testing.TB, path string) <-chan string {
	t.Helper()
	nettest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	log, out := io.Pipe()
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, []string{"--config", path, "--log-level", "debug"}, io.Discard, out)
		_ = out.Close()
	}()
	lines := follow(t, log)
	t.Cleanup(func() {
		cancel()
		if status := <-exited; status != 0 {
			t.Errorf("exit status %d, want 0", status)
		}
		for range lines { // to the end: nothing logs into a test that is over
		}
	})
	waitFor(t, lines, "msg=serving")
	return lines
}

// follow passes on what edgedns logs, a line at a time, and drops what nobody waits for.
func follow(t testing.TB, log io.Reader) <-chan string {
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		var all bytes.Buffer
		buf := make([]byte, 4096)
		for {
			n, err := log.Read(buf)
			all.Write(buf[:n])
			for {
				line, lineErr := all.ReadString('\n')
				if lineErr != nil {
					all.WriteString(line)
					break
				}
				t.Log(strings.TrimSpace(line))
				select {
				case lines <- line:
				default:
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

func waitFor(t testing.TB, lines <-chan string, text string) string {
	t.Helper()
	for line := range lines {
		if strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("edgedns ended without logging %q", text)
	return ""
}

// ask returns code, sorted addresses and TTL of an answer.
func ask(t testing.TB, name string, qtype uint16) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, qtype)
	m, err := dns.ExchangeContext(t.Context(), q, "[::1]:53")
	if err != nil {
		return err.Error()
	}
	got := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		fields := strings.Fields(rr.String())
		got = append(got, fields[4]+"/"+fields[1])
	}
	slices.Sort(got[1:])
	return strings.Join(got, " ")
}

// eventually asks until the answer is the wanted one.
func eventually(t *testing.T, name string, qtype uint16, want string) {
	t.Helper()
	var got string
	for range 1000 {
		if got = ask(t, name, qtype); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond) // the check's interval decides
	}
	t.Fatalf("%s is %q, want %q", name, got, want)
}

// pod accepts connections and closes them, until it is closed itself.
func pod(t *testing.T, addr string) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	stop = sync.OnceFunc(func() { _ = l.Close(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestAnswersFollowPods(t *testing.T) {
	start(t, testConfig)
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/1 127.0.0.2/1") // none works: all, for one second
	first := pod(t, "127.0.0.1:7001")
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/5")
	second := pod(t, "127.0.0.2:7001")
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/5 127.0.0.2/5")
	first()
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.2/5")
	second()
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/1 127.0.0.2/1")
	if got, want := ask(t, "api.edge.example.", dns.TypeAAAA), "NOERROR 2001:db8:1::10/5"; got != want {
		t.Errorf("the other family is %q, want %q", got, want)
	}
	if got, want := ask(t, "health.edge.example.", dns.TypeAAAA), "NOERROR 2001:db8:53::53/5"; got != want {
		t.Errorf("health is %q, want %q", got, want)
	}
}

// An endpoint whose check has not told yet: nobody gets a guess, and the agent's check of the health name fails.
func TestNotSynced(t *testing.T) {
	pod(t, "127.0.0.1:7001")
	start(t, strings.Replace(testConfig, "interval: 500ms, fast_interval: 20ms, rise: 1", "interval: 1h, fast_interval: 1h, rise: 2", 1))
	for _, name := range []string{"api.edge.example.", "health.edge.example."} {
		if got := ask(t, name, dns.TypeAAAA); got != "SERVFAIL" {
			t.Errorf("%s is %q, want SERVFAIL", name, got)
		}
	}
}

func scrape(t *testing.T) string {
	t.Helper()
	return scrapeAt(t, "[::1]:9411")
}

func scrapeAt(t *testing.T, addr string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return string(page)
}

// documented wants every metric of this program in the operators' page.
func documented(t *testing.T, page string) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "dns.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		name, found := strings.CutPrefix(line, "# TYPE anyedge_dns_")
		if name, _, _ = strings.Cut(name, " "); found && !bytes.Contains(doc, []byte("`anyedge_dns_"+name+"`")) {
			t.Errorf("docs/dns.md does not tell of anyedge_dns_%s", name)
		}
	}
}

func TestMetrics(t *testing.T) {
	pod(t, "127.0.0.1:7001")
	start(t, testConfig)
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/5")
	if got := ask(t, "www.example.", dns.TypeMX); got != "REFUSED" {
		t.Errorf("another zone is %q, want REFUSED", got)
	}
	page := scrape(t)
	documented(t, page)
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "anyedge_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, line := range []string{
		`anyedge_dns_requests_total{family="2",proto="udp",server="[::1]:53",type="MX",view="",zone=""} 1`,
		`anyedge_dns_responses_total{rcode="REFUSED",server="[::1]:53",view="",zone=""} 1`,
		`anyedge_dns_synced 1`,
		`anyedge_dns_services 1`,
		`anyedge_dns_endpoints{state="up"} 2`,
		`anyedge_dns_endpoints{state="down"} 1`,
		`anyedge_dns_panicking_services{family="1"} 0`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

// The sample of the documentation and a file that is running are good; nothing is opened for either.
func TestCheckConfig(t *testing.T) {
	start(t, testConfig)
	for _, path := range []string{configFile(t, testConfig), filepath.Join("..", "..", "docs", "samples", "edgedns.yaml")} {
		status, stdout, stderr := runOnce(t, "--config", path, "--check-config")
		if status != 0 || stdout != path+": ok\n" || stderr != "" {
			t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
		}
	}
}

func runOnce(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), args, &out, &err)
	return status, out.String(), err.String()
}

func TestRefused(t *testing.T) {
	bad := configFile(t, strings.Replace(testConfig, "mec-1", "mec 1\nsource: {}", 1))
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	tests := []struct {
		name, want string
		args       []string
	}{
		{name: "no file named", want: "edgedns: which configuration? --config FILE is needed\n"},
		{
			name: "no such file", args: []string{"--config", missing},
			want: "edgedns: open " + missing + ": no such file or directory\n",
		},
		{
			name: "bad file: a line for each mistake", args: []string{"--config", bad, "--check-config"},
			want: "edgedns: " + bad + ":1:7: site: must be a name of at most 63 letters, digits, dots, hyphens and underscores, not \"mec 1\"\n" +
				"edgedns: " + bad + ":2:1: source: not supported yet\n",
		},
		{name: "unknown flag", args: []string{"--listen", "x"}, want: "edgedns: unknown flag: --listen\n"},
		{name: "arguments", args: []string{"x"}, want: "edgedns: unknown command \"x\" for \"edgedns\"\n"},
		{name: "log level", args: []string{"--config", bad, "--log-level", "loud"}, want: "edgedns: --log-level loud: must be debug, info, warn or error\n"},
		{name: "log format", args: []string{"--config", bad, "--log-format", "xml"}, want: "edgedns: --log-format xml: must be text or json\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := runOnce(t, tt.args...)
			if diff := cmp.Diff(tt.want, stderr); diff != "" || status != 1 || stdout != "" {
				t.Errorf("status %d, stdout %q, stderr (-want +got):\n%s", status, stdout, diff)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for flag, want := range map[string]string{"--help": "Examples:\n  edgedns --config", "--version": "edgedns version "} {
		if status, stdout, stderr := runOnce(t, flag); status != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", flag, status, stdout, stderr)
		}
	}
}

// Whoever comes second is told, and leaves nothing open that the next try would stumble over.
func TestAddressInUse(t *testing.T) {
	nettest.Need(t)
	second := func(t *testing.T, config, want string) {
		t.Helper()
		status, _, stderr := runOnce(t, "--config", configFile(t, config), "--log-level", "error")
		if diff := cmp.Diff(want, stderr); diff != "" || status != 1 {
			t.Errorf("status %d, stderr (-want +got):\n%s", status, diff)
		}
	}
	const remedy = ": address already in use: another program answers there: stop it, or choose another address\n"
	t.Run("a second edgedns", func(t *testing.T) {
		start(t, testConfig)
		second(t, testConfig, "edgedns: listen [::1]:53: tcp: bind"+remedy)
	})
	t.Run("another program on UDP", func(t *testing.T) {
		c, err := net.ListenPacket("udp", "127.0.0.1:53")
		if err != nil {
			t.Fatal(err)
		}
		second(t, testConfig, "edgedns: listen 127.0.0.1:53: udp: bind"+remedy)
		_ = c.Close()
		start(t, testConfig)
	})
	t.Run("the metrics' address", func(t *testing.T) {
		l, err := net.Listen("tcp", "[::1]:9411")
		if err != nil {
			t.Fatal(err)
		}
		second(t, testConfig, "edgedns: metrics.listen [::1]:9411: bind: address already in use: choose a free address of this host\n")
		_ = l.Close()
		start(t, testConfig)
	})
}

// process is edgedns as a process of its own.
func process(t *testing.T, as, config string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	nettest.Need(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "--config", configFile(t, config))
	cmd.Env = append(os.Environ(), role+"="+as)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stderr
}

// The one capability is enough, also for an address that the host does not have; SIGHUP does not end it, SIGTERM and
// SIGINT end it well.
func TestSignals(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd, stderr := process(t, "binder", strings.Replace(testConfig, `"127.0.0.1:53"`, `"[2001:db8:53::53]:53", "192.0.2.53:53"`, 1))
			eventually(t, "api.edge.example.", dns.TypeAAAA, "NOERROR 2001:db8:1::10/5")
			for _, sig := range []unix.Signal{unix.SIGHUP, sig} {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			err := cmd.Wait()
			if log := stderr.String(); err != nil || !strings.Contains(log, "msg=stopped") {
				t.Errorf("%v\n%s", err, log)
			}
		})
	}
}

func TestWithoutCapability(t *testing.T) {
	cmd, stderr := process(t, "powerless", testConfig)
	err := cmd.Wait()
	want := "edgedns: listen [::1]:53: tcp: bind: permission denied: ports below 1024 need root or CAP_NET_BIND_SERVICE\n"
	if cmd.ProcessState.ExitCode() != 1 || !strings.HasSuffix(stderr.String(), want) {
		t.Errorf("%v\n%swant %s", err, stderr, want)
	}
}
