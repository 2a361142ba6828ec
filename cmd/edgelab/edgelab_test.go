package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/lab"
)

// bin holds the programs under test: static, as they are shipped.
var bin string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edgelab-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for those that run it without root
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "../...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needRoot skips the test without root; with CI=true it fails instead.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// quickstart copies the lab under a name of this test's own, so that a lab of the user's may be up meanwhile.
func quickstart(t *testing.T) (name, file string) {
	t.Helper()
	return copyLab(t, "quickstart", "quickstart")
}

// copyLab copies a variant of a lab, as quickstart does.
func copyLab(t *testing.T, dirName, variant string) (name, file string) {
	t.Helper()
	source := filepath.Join(labsOfRepo, dirName)
	name = fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")))
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(source, "config"))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(source, variant+".clab.yml"))
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name+".clab.yml")
	text = bytes.Replace(text, []byte("\nname: "+variant+"\n"), []byte("\nname: "+name+"\n"), 1)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nothingLeft(t, name) })
	return name, file
}

// nothingLeft fails the test when a process or the state of the lab is still there.
func nothingLeft(t *testing.T, name string) {
	t.Helper()
	if s, err := lab.NewSandbox(name); err == nil {
		if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind (%v)", s.Dir, err)
			_ = s.Down(context.Background())
		}
	}
	for range 100 {
		if left := processes(); len(left) > 0 {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		return
	}
	t.Errorf("processes are left behind: %v", processes())
}

// processes returns the processes that run the programs under test, or were started by them: those of other makers in a
// lab's nodes find the programs by their PATH.
func processes() []string {
	var found []string
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		target, err := os.Readlink(exe)
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(exe), "environ"))
		if err == nil && (strings.HasPrefix(target, bin) || bytes.Contains(env, []byte("PATH="+bin+":"))) {
			found = append(found, exe+" "+target)
		}
	}
	return found
}

func edgelab(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "edgelab"), args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	t.Logf("edgelab %s\n%s", strings.Join(args, " "), out)
	return string(out), err
}

func mustEdgelab(t *testing.T, args ...string) string {
	t.Helper()
	out, err := edgelab(t, args...)
	if err != nil {
		t.Fatalf("edgelab %s: %v", args[0], err)
	}
	return out
}

// siteOf returns who answers the client's DNS query at the anycast address, and with what.
func siteOf(t *testing.T, name, server string) (site, answer string) {
	t.Helper()
	out := mustEdgelab(t, "exec", name, "client", "--", "edgeprobe", "query", "--server", server, "api.edge.example.", "AAAA", "-o", "json")
	var a struct {
		Site    string `json:"site"`
		Answers []struct {
			Value string `json:"value"`
		} `json:"answers"`
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Answers) == 0 {
		t.Fatalf("answer %q: %v", out, err)
	}
	return a.Site, a.Answers[0].Value
}

// A lab stays up between commands; the nearest site answers with its own pod over IPv6 and IPv4; a link that goes down
// at a router moves the client at once, and back, and the live view tells. Namespaces of the user's that are named as nodes
// of the lab are other ones.
func TestUpExecDown(t *testing.T) {
	needRoot(t)
	ofTheUser := namespaceOfTheUser(t, "r1")
	before := ofTheUser()
	name, file := quickstart(t)
	mustEdgelab(t, "up", file)
	defer func() { mustEdgelab(t, "down", name) }()
	if out, err := edgelab(t, "up", file); err == nil || !strings.Contains(out, "is up already: edgelab down "+name) {
		t.Errorf("a second up: %v, %q: want a refusal", err, out)
	}
	for _, server := range []string{"[2001:db8:53::53]:53", "192.0.2.53:53"} {
		if site, answer := siteOf(t, name, server); site != "mec-1" || !strings.HasPrefix(answer, "2001:db8:1:") {
			t.Errorf("%s answers %s from %s, want a pod of mec-1 from mec-1", server, answer, site)
		}
	}
	view := startView(t, file)
	view.shows("served by mec-1", "app up, dns up", "2001:db8:1:1::1 established, BFD up")
	mustEdgelab(t, "exec", name, "r1", "--", "ip", "link", "set", "eth1", "down")
	waitSite(t, name, "mec-2")
	view.shows("served by mec-2")
	mustEdgelab(t, "exec", name, "r1", "--", "ip", "link", "set", "eth1", "up")
	waitSite(t, name, "mec-1")
	view.shows("served by mec-1")
	view.end()
	if now := ofTheUser(); now != before {
		t.Errorf("the user's namespace r1 has the links %s, and had %s", now, before)
	}
}

// namespaceOfTheUser makes one with a name, unless the user has it, and returns what tells the links in it.
func namespaceOfTheUser(t *testing.T, name string) (links func() string) {
	t.Helper()
	if _, err := os.Stat("/run/netns/" + name); err != nil {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
				t.Errorf("the user's namespace is gone: %v: %s", err, out)
			}
		})
	}
	return func() string {
		out, err := exec.Command("ip", "-netns", name, "-brief", "link").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var names []string
		for line := range strings.Lines(string(out)) {
			names = append(names, strings.Fields(line)[0])
		}
		return strings.Join(names, " ")
	}
}

// A liveView is `edgelab view` at work.
type liveView struct {
	t    *testing.T
	cmd  *exec.Cmd
	mu   sync.Mutex
	seen bytes.Buffer
}

func startView(t *testing.T, file string) *liveView {
	t.Helper()
	v := &liveView{t: t, cmd: exec.Command(filepath.Join(bin, "edgelab"), "view", file)}
	v.cmd.Stdout, v.cmd.Stderr = v, v
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.end)
	return v
}

func (v *liveView) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen.Write(b)
}

// shows waits until the view, as it is then, has all the texts.
func (v *liveView) shows(texts ...string) {
	v.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // it is drawn four times a second
		v.mu.Lock()
		now := v.seen.String()
		v.mu.Unlock()
		now = now[max(0, strings.LastIndex(now, "\x1b[H")):]
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(now, text) }) {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("the view never shows %q:\n%s", texts, now)
		}
	}
}

// end is Ctrl-C, which is no failure.
func (v *liveView) end() {
	if v.cmd.ProcessState != nil {
		return
	}
	_ = v.cmd.Process.Signal(syscall.SIGINT)
	if err := v.cmd.Wait(); err != nil {
		v.t.Errorf("view: %v", err)
	}
}

// Two labs with the same addresses do not see each other.
func TestTwoLabsAtOnce(t *testing.T) {
	needRoot(t)
	name, file := quickstart(t)
	second := name + "-2"
	copied := strings.TrimSuffix(file, name+".clab.yml") + second + ".clab.yml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, bytes.Replace(text, []byte("name: "+name), []byte("name: "+second), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	mustEdgelab(t, "up", file)
	defer func() { mustEdgelab(t, "down", name) }()
	mustEdgelab(t, "up", copied)
	mustEdgelab(t, "exec", second, "r1", "--", "ip", "link", "set", "eth1", "down")
	waitSite(t, second, "mec-2")
	if site, _ := siteOf(t, name, "[2001:db8:53::53]:53"); site != "mec-1" {
		t.Errorf("%s answers in the first lab, though only the second one is broken", site)
	}
	mustEdgelab(t, "down", second)
	if site, _ := siteOf(t, name, "[2001:db8:53::53]:53"); site != "mec-1" {
		t.Errorf("%s answers in the first lab after the second one went down", site)
	}
}

// An ordinary user needs no root where the kernel lets users make namespaces.
func TestWithoutRoot(t *testing.T) {
	name, file := quickstart(t)
	as := asNobody(t, file)
	out, err := as("exec", name, "client", "--", "edgeprobe", "query", "--server", "2001:db8:53::53", "api.edge.example.", "AAAA")
	if err != nil || !strings.Contains(out, "from site mec-1") {
		t.Errorf("query: %v %s: want an answer of mec-1", err, out)
	}
	if _, err := as("down", name); err != nil {
		t.Error(err)
	}
}

// asNobody brings a lab up as an ordinary user, and returns how that user calls edgelab.
func asNobody(t *testing.T, file string) func(args ...string) (string, error) {
	t.Helper()
	needRoot(t) // to become somebody else
	const nobody = 65534
	home := t.TempDir()
	for dir := home; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(file); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "edgelab"), args...)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "XDG_RUNTIME_DIR="+home, "HOME="+home)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		t.Logf("edgelab %s\n%s", strings.Join(args, " "), out)
		return string(out), err
	}
	if out, err := as("up", file); err != nil {
		if strings.Contains(out, "make namespaces") {
			t.Skip("this kernel does not let users make namespaces")
		}
		t.Fatal(err)
	}
	return as
}

// waitSite waits until a site answers. The bound is generous and only ends a test that would wait for ever.
func waitSite(t *testing.T, name, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		out, err := edgelab(t, "exec", name, "client", "--", "edgeprobe", "query", "--server", "2001:db8:53::53", "api.edge.example.", "AAAA")
		if err == nil && strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v %s", want, err, out)
		}
	}
}

// Every experiment measures a failover to the next nearest site; those that are left out differ from one of these in a
// figure only, and take long. The bounds are those of a machine that does a lot beside; the figures that count are in
// docs/measurements.md.
func TestRun(t *testing.T) {
	needRoot(t)
	experiments := []string{
		"service-kill", "dns-kill", "service-hang", "agent-hang", "link-down", "link-loss", "host-down", "drain",
		"restart", "target-dies", "all-sick",
	}
	_, file := quickstart(t)
	dir := t.TempDir()
	out := mustEdgelab(t, append([]string{"run", file, "--runs", "1", "--seed", "1", "--out", dir}, experiments...)...)
	if table := out[strings.LastIndex(out, "EXPERIMENT"):]; strings.Count(table, "\n") != len(experiments)+2 {
		t.Errorf("the run does not end with a line for each experiment: %s", table)
	}
	if again := mustEdgelab(t, "table", dir); !strings.Contains(again, "\nservice-kill ") || strings.Count(again, "\n") != len(experiments)+2 {
		t.Error("the table made from the results does not have them all")
	}
	for _, name := range experiments {
		t.Run(name, func(t *testing.T) { checkRun(t, filepath.Join(dir, name), name) })
	}
}

// checkRun looks at what one run left.
func checkRun(t *testing.T, dir, experiment string) {
	if page, err := os.ReadFile(filepath.Join(dir, "report.html")); err != nil || bytes.Count(page, []byte("<svg ")) < 4 {
		t.Errorf("report.html: %v, want at least 4 pictures in %d bytes", err, len(page))
	}
	data, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r lab.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Runs) != 1 || r.Experiment != experiment || r.Seed != 1 {
		t.Fatalf("result %s: want one run of %s", data, experiment)
	}
	m := r.Runs[0]
	takesOver := map[string]string{"target-dies": "mec-3", "all-sick": ""}
	to, special := takesOver[experiment]
	if !special {
		to = "mec-2"
	}
	if m.SiteFrom != "mec-1" || m.SiteTo != to {
		t.Errorf("took over: %s -> %s, want mec-1 -> %s", m.SiteFrom, m.SiteTo, to)
	}
	bound := 2000.0 // without BFD, link-loss and agent-hang take the hold time, 7.5 s at least
	if experiment == "all-sick" {
		bound = 12000
	}
	lossless := experiment == "drain"
	if (m.Lost == 0) != lossless || m.MTTRMs > bound || m.RTTMs < 12 {
		t.Errorf("lost %d, MTTR %.1f ms, RTT %.1f ms: want losses: %v, under %.0f ms, RTT of at least 12 ms", m.Lost, m.MTTRMs, m.RTTMs, !lossless, bound)
	}
	want := []string{"first_route", "diverted", "first_answer", "healed", "returned", "back"}
	switch experiment {
	case "all-sick":
		want = []string{"healed", "back"}
	case "restart": // where it is bridged and soon back, no router hears of it
		want = []string{"noticed", "first_answer", "healed"}
	}
	for _, phase := range want {
		if m.Phases[phase] <= 0 {
			t.Errorf("phase %s is missing: %v", phase, m.Phases)
		}
	}
	seen := map[lab.What]bool{}
	for _, e := range m.Trace.Events {
		seen[e.What] = true
	}
	for _, what := range []lab.What{lab.TraceFault, lab.TraceHealed, lab.TraceRoute} {
		if !seen[what] && (what != lab.TraceRoute || m.Updates > 0) {
			t.Errorf("the trace has no %s: %+v", what, m.Trace)
		}
	}
}

// Ctrl-C, a kill of the lab's first process and a kill of the command itself: nothing stays behind.
func TestNothingStaysBehind(t *testing.T) {
	needRoot(t)
	tests := []struct {
		name string
		end  func(*exec.Cmd) error
	}{
		{"ctrl-c", func(c *exec.Cmd) error { return syscall.Kill(-c.Process.Pid, syscall.SIGINT) }},
		{"sigterm", func(c *exec.Cmd) error { return c.Process.Signal(syscall.SIGTERM) }},
		{"crash", func(c *exec.Cmd) error { return c.Process.Kill() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, file := quickstart(t)
			cmd := exec.Command(filepath.Join(bin, "edgelab"), "run", file, "service-kill", "--runs", "50", "--out", t.TempDir())
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil { // the lab is up
				t.Fatal(err)
			}
			if err := tt.end(cmd); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("exit status 0 though not every run was measured")
			}
			if tt.name == "crash" { // what a crash leaves is the state, for `down` to remove
				mustEdgelab(t, "down", name)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const node = "name: x\ntopology:\n  nodes:\n    a: {kind: linux, image: anyedge, cmd: %s}\n"
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"no such lab", []string{"up", "nowhere", "--labs", dir}, `edgelab: no lab "nowhere"`},
		{"malformed topology", []string{"up", write("a.clab.yml", "name: x\ntopology: []\n")}, "a.clab.yml:2:11: topology: "},
		{"missing program", []string{"up", write("b.clab.yml", fmt.Sprintf(node, "no-such-program"))}, "program no-such-program of lab x is missing: run make build"},
		{"no experiment", []string{"run", write("c.clab.yml", fmt.Sprintf(node, "edgelab")), "earthquake"}, `no experiment "earthquake": there are service-kill, dns-kill, agent-kill, `},
		{"an experiment twice", []string{"run", write("e.clab.yml", fmt.Sprintf(node, "edgelab")), "drain", "drain"}, "experiment drain is there twice: --runs N repeats it"},
		{"a table of nothing", []string{"table", dir}, dir + ": no result.json of edgelab run in or below it"},
		{"a table in no format", []string{"table", written(t, 1), "-o", "yaml"}, `-o "yaml": want text, markdown or json`},
		{"no runs", []string{"run", write("d.clab.yml", fmt.Sprintf(node, "edgelab")), "dns-kill", "--runs", "0"}, "--runs 0: must be at least 1"},
		{"down of nothing", []string{"down", "nowhere"}, "edgelab: nowhere: lab is not up"},
		{"node file for a router", []string{"router", write("n.yaml", "interfaces:\n  - {name: lo, addresses: []}\n")}, "router: is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := edgelab(t, tt.args...)
			if err == nil || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
				t.Errorf("%v, %q: want failure with one line that has %q", err, out, tt.want)
			}
		})
	}
}
