package health

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// shell writes a shell script that a check can run.
func shell(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExecCheck(t *testing.T) {
	t.Setenv("ANYEDGE_SECRET", "leak")
	for _, test := range []struct {
		name, script string
		args         []string
		env          []string
		want         string
	}{
		{name: "ok", script: "echo fine"},
		{name: "arguments are no shell's", script: `test "$#" = 2 && test "$1" = "a b" && test "$2" = '$(id);*'`, args: []string{"a b", "$(id);*"}},
		{name: "environment", script: `echo "$(env | grep -v ^PWD= | grep -v ^_= | grep -v ^SHLVL= | sort | tr '\n' ' ')"; exit 1`, env: []string{"LC_ALL=de", "A=b"},
			want: "exit status 1: A=b LC_ALL=de " + execPath},
		{name: "no input", script: "read line && exit 1; exit 0"},
		{name: "directory", script: `test "$(pwd)" = / || exit 1`},
		{name: "failure", script: "exit 3", want: "exit status 3"},
		{name: "first line of failure", script: "echo; echo ' no disk '; echo more; exit 2", want: "exit status 2: no disk"},
		{name: "errors are output", script: "echo bad >&2; exit 1", want: "exit status 1: bad"},
		{name: "no control characters", script: `printf '\033[31mred\033[0m\377 \r\n'; exit 1`, want: "exit status 1: [31mred[0m"},
		{name: "long line", script: "head -c 100000 /dev/zero | tr '\\0' a; exit 1", want: "exit status 1: " + repeat("a", 200) + "..."},
		{name: "killed", script: "kill -9 $$", want: "signal: killed"},
		{name: "left behind", script: "sleep 60 & exit 0"},
		{name: "escaped with the output", script: `mkfifo $0.up; setsid sh -c "echo up > $0.up; sleep 1" & read up < $0.up; exit 0`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Exec{Command: append([]string{shell(t, test.script)}, test.args...), Env: test.env}
			if got := text(c.Check(t.Context())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestExecThatCannotRun(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Exec{
		"no command": {},
		"cannot be run: fork/exec " + dir + "/none: no such file or directory": {Command: []string{dir + "/none"}},
		"cannot be run: fork/exec " + plain + ": permission denied":            {Command: []string{plain}},
	} {
		if got := text(c.Check(t.Context())); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The time is over: the program and what it started are dead when Check returns, and no zombie of ours is left.
func TestExecTimeout(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	if err := unix.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Exec{Command: []string{shell(t, "echo waits; sleep 60 & echo $$ $! > "+pids+"; wait")}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result := make(chan error)
	go func() { result <- c.Check(ctx) }()
	b, err := os.ReadFile(pids) // returns once both run
	if err != nil {
		t.Fatal(err)
	}
	var processes []int
	for _, word := range strings.Fields(string(b)) {
		processes = append(processes, open(t, word))
	}
	cancel()
	if got := text(<-result); !strings.HasSuffix(got, ": waits") || !strings.HasPrefix(got, "not done within ") {
		t.Errorf("got %q", got)
	}
	for i, fd := range processes {
		// What was killed needs a moment to die.
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
			t.Errorf("process %d of %s lives: %v", i, b, err)
		}
		unix.Close(fd)
	}
	if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child is left: %v", err)
	}
}

// open returns a descriptor that can be read once the process is dead.
func open(t *testing.T, word string) int {
	t.Helper()
	pid, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestHead(t *testing.T) {
	h := new(head)
	for range 3 {
		if n, err := h.Write(make([]byte, maxOutput-1)); n != maxOutput-1 || err != nil {
			t.Errorf("took %d, %v", n, err)
		}
	}
	if h.b.Len() != maxOutput {
		t.Errorf("keeps %d bytes", h.b.Len())
	}
}

func FuzzFirstLine(f *testing.F) {
	for _, seed := range []string{"", "\n\n a \n b", "\x1b[31mred\r\n", "\xff\xfe", repeat("ü", 300), "\u202etrojan"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := new(head)
		_, _ = h.Write(b)
		line := h.firstLine()
		if !utf8.ValidString(line) || len(line) > 205 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q gives %q", b, line)
		}
	})
}
