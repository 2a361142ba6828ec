package unixapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "run", "x.sock") }

func TestListen(t *testing.T) {
	t.Parallel()
	path := socket(t)
	l, err := Listen(path, "api.socket")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Listen(path, "api.socket"); err == nil || err.Error() != "api.socket "+path+": another program serves it: stop that, or name another" {
		t.Errorf("a second program: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close() // as if it was killed
	if l, err = Listen(path, "api.socket"); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	l.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket stays behind")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, "api.socket"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
}

// Whatever the program says reaches who asked, in its own words.
func TestAsk(t *testing.T) {
	t.Parallel()
	path, log := socket(t), slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /double", func(w http.ResponseWriter, r *http.Request) {
		var n int
		if err := Read(w, r, &n, "a number"); err != nil {
			Refuse(w, log, http.StatusBadRequest, err)
			return
		}
		Answer(w, log, http.StatusOK, 2*n)
	})
	mux.HandleFunc("GET /missing", func(w http.ResponseWriter, _ *http.Request) {
		Refuse(w, log, http.StatusNotFound, errors.New("no such thing"))
	})
	mux.HandleFunc("GET /text", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) })
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	l, err := Listen(path, "api.socket")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, mux, log) }()
	c := NewClient(path, "edgething", "api")
	for _, tt := range []struct {
		method, path string
		in           any
		want         string
	}{
		{"POST", "/double", 21, ""},
		{"POST", "/double", "x", "the body must be a number: json: cannot unmarshal string into Go value of type int"},
		{"GET", "/missing", nil, "no such thing"},
		{"GET", "/text", nil, "edgething at " + path + ": is not what was expected: invalid character 'e' in literal true (expecting 'r')"},
		{"GET", "/broken", nil, "edgething at " + path + ": answered 500 Internal Server Error"},
	} {
		var out int
		err := c.Ask(t.Context(), tt.method, tt.path, tt.in, &out)
		switch {
		case tt.want == "" && (err != nil || out != 42):
			t.Errorf("%s %s: %d, %v", tt.method, tt.path, out, err)
		case tt.want != "" && (err == nil || err.Error() != tt.want || errors.Is(err, ErrNotFound) != (tt.path == "/missing")):
			t.Errorf("%s %s: %v, want %s", tt.method, tt.path, err, tt.want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	want := "no edgething at " + path + ": is it running, and does its file say api: {socket: " + path + "}? (--socket names another): no such file or directory"
	if err := c.Ask(t.Context(), "GET", "/text", nil, nil); err == nil || err.Error() != want {
		t.Errorf("nobody there: %v", err)
	}
}
