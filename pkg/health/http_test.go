package health

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func httpTarget(s *httptest.Server) netip.AddrPort {
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

// httpServer is one that the tests of plain HTTP ask; each path has a fault of its own.
func httpServer(t *testing.T) netip.AddrPort {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" ok")
	})
	mux.HandleFunc("/503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/299", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) })
	mux.HandleFunc("/499", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(499) })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/503", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://user:secret@elsewhere.example/", http.StatusFound)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("a"), maxReply))
		_, _ = io.WriteString(w, "end")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return httpTarget(s)
}

func TestHTTPCheck(t *testing.T) {
	target := httpServer(t)
	match := regexp.MustCompile
	for _, test := range []struct {
		name  string
		check HTTP
		want  string
	}{
		{"defaults", HTTP{Body: match("^GET / ok$")}, ""},
		{"path and query", HTTP{Path: "/a?b=c", Body: match("/a\\?b=c ok")}, ""},
		{"head", HTTP{Method: http.MethodHead}, ""},
		{"host", HTTP{Host: "api.example", Header: []HeaderMatch{{"x-host", match("^api.example$")}}}, ""},
		{"host by default", HTTP{Header: []HeaderMatch{{"X-Host", match("^" + regexp.QuoteMeta(target.String()) + "$")}}}, ""},
		{"one of two values", HTTP{Header: []HeaderMatch{{"X-Two", match("^b$")}}}, ""},
		{"no value", HTTP{Header: []HeaderMatch{{"X-Two", match("^c$")}}}, `header X-Two is ["a" "b"], which does not match "^c$"`},
		{"no header", HTTP{Header: []HeaderMatch{{"X-Not", match("")}}}, `header X-Not is [], which does not match ""`},
		{"a status that fails", HTTP{Path: "/503"}, "answered 503 Service Unavailable"},
		{"a status without a name", HTTP{Path: "/499"}, "answered 499"},
		{"a status that is wanted", HTTP{Path: "/503", Status: []StatusRange{{200, 200}, {500, 503}}}, ""},
		{"a good status that is not", HTTP{Path: "/299", Status: []StatusRange{{200, 204}}}, "answered 299"},
		{"redirect not followed passes", HTTP{Path: "/away"}, ""},
		{"redirect that is not wanted", HTTP{Path: "/here", Status: []StatusRange{{200, 200}}}, `answered 302 Found, to "/503"`},
		{"redirect followed", HTTP{Path: "/here", FollowRedirects: true}, "answered 503 Service Unavailable"},
		{"redirect elsewhere", HTTP{Path: "/away", FollowRedirects: true}, `redirected elsewhere: "http://user:xxxxx@elsewhere.example/"`},
		{"redirect without end", HTTP{Path: "/loop", FollowRedirects: true}, "redirected more than 5 times"},
		{"body", HTTP{Body: match("bad")}, `answered "GET / ok", which does not match "bad"`},
		{"body beyond what is looked at", HTTP{Path: "/long", Body: match("end")}, `answered "` + repeat("a", 64) + `"..., which does not match "end"`},
		{"body of what is looked at", HTTP{Path: "/long", Body: match("^a")}, ""},
		{"no TLS there", HTTP{TLS: true}, "answered without TLS"},
		{"a bad path", HTTP{Path: "/%zz"}, `target: parse "http://` + target.String() + `/%zz": invalid URL escape "%zz"`},
		{"a bad method", HTTP{Method: "GE T"}, `target: net/http: invalid method "GE T"`},
		{"a source", HTTP{Local: Local{Source: netip.MustParseAddr("127.0.0.1"), Device: "lo"}}, ""},
		{"a device that is not there", HTTP{Local: Local{Device: "nosuch0"}}, "device nosuch0: no such device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.check.Target = target
			if got := text(test.check.Check(t.Context())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestHTTPCheckWithoutAnswer(t *testing.T) {
	if got := text(HTTP{Target: unusedPort(t, "tcp")}.Check(t.Context())); got != "connection refused" {
		t.Errorf("unused port: %q", got)
	}
	closes := tcpServer(t, func(net.Conn) {})
	for range 20 { // it may come before or after the request is written
		if err := (HTTP{Target: closes}).Check(t.Context()); err == nil {
			t.Error("a server that closes passed")
		}
	}
	half := tcpServer(t, func(c net.Conn) {
		hear(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
	})
	if got, want := text(HTTP{Target: half}.Check(t.Context())), "closed before the answer was complete"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	noise := tcpServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-\x1b[31m\r\n\r\n") // unasked
		hear(c)
	})
	if got, want := text(HTTP{Target: noise}.Check(t.Context())), `malformed HTTP response "SSH-2.0-\x1b[31m"`; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// hear reads a request, so that closing afterwards is no reset.
func hear(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }

func TestHTTPCheckPassesOverInterimAnswers(t *testing.T) {
	target := tcpServer(t, func(c net.Conn) {
		hear(c)
		_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
	})
	if err := (HTTP{Target: target, Status: []StatusRange{{204, 204}}}).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A head that never ends is not read without end.
func TestHTTPCheckOfAnEndlessHead(t *testing.T) {
	target := tcpServer(t, func(c net.Conn) {
		hear(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		for {
			if _, err := c.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	if err := (HTTP{Target: target}).Check(t.Context()); err == nil {
		t.Error("passed")
	}
}

// Neither silence nor a body that never ends holds an attempt beyond its time.
func TestHTTPCheckTimeout(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begins")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	defer s.Close()
	for path, where := range map[string]string{"/": "", "/body": "in the body: "} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		c := HTTP{Target: httpTarget(s), Path: path, Body: regexp.MustCompile("end")}
		got, in := strings.CutPrefix(text(c.Check(ctx)), where)
		if !in || !timedOut(got, 50) {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

// certificate signs itself for example.test; edit changes what is signed.
func certificate(t *testing.T, edit func(*x509.Certificate)) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.test"}, DNSNames: []string{"example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	edit(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, roots
}

func TestHTTPCheckOfCertificates(t *testing.T) {
	past, future := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2120, 1, 2, 3, 4, 5, 0, time.UTC)
	plain := func(*x509.Certificate) {}
	for _, test := range []struct {
		name  string
		edit  func(*x509.Certificate)
		check HTTP
		want  string
	}{
		{"good", plain, HTTP{Host: "example.test:8443"}, ""},
		{"good by its server name", plain, HTTP{ServerName: "example.test"}, ""},
		{"expired", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = past.Add(-time.Hour), past }, HTTP{Host: "example.test"},
			`certificate of "example.test" expired on 2020-01-02T03:04:05Z`},
		{"not yet", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = future, future.Add(time.Hour) }, HTTP{Host: "example.test"},
			`certificate of "example.test" is not valid before 2120-01-02T03:04:05Z`},
		{"for another name", plain, HTTP{Host: "api.test"}, `certificate is not for "api.test" but for ["example.test"]`},
		{"for a name, not the address", plain, HTTP{}, `certificate is not for "127.0.0.1" but for ["example.test"]`},
		{"for many", func(c *x509.Certificate) { c.DNSNames = strings.Split("a b c d e f g", " ") }, HTTP{Host: "h"},
			`certificate is not for "h" but for ["a" "b" "c" "d" "e"] and 2 more`},
		{"of nobody known", plain, HTTP{Host: "example.test", Roots: x509.NewCertPool()},
			`certificate of "example.test" is signed by an unknown authority, "example.test"`},
		{"not looked at", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = past.Add(-time.Hour), past },
			HTTP{Host: "api.test", InsecureSkipVerify: true}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cert, roots := certificate(t, test.edit)
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			c := test.check
			c.Target, c.TLS, c.Status = httpTarget(s), true, []StatusRange{{404, 404}}
			if c.Roots == nil {
				c.Roots = roots
			}
			if got := text(c.Check(t.Context())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A connection that is not verified is named in the log at the start and in every status that trusts it.
func TestInsecureIsNamed(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	c := HTTP{Target: httpTarget(s), TLS: true, InsecureSkipVerify: true, Status: []StatusRange{{404, 404}}}
	var buf bytes.Buffer
	m := NewMonitor(slog.New(slog.NewTextHandler(&buf, nil)), Service{Name: "web", Checks: []Check{{Name: "page", Checker: c}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	got := wait(m, Up)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	const warning = "TLS certificate NOT verified (insecure_skip_verify): anybody may answer"
	if want := "1 of 1 checks up; page: " + warning; got.Reason != want {
		t.Errorf("reason %q, want %q", got.Reason, want)
	}
	if want := "ok, but " + warning; got.Checks[0].Reason != want {
		t.Errorf("reason of the check %q, want %q", got.Checks[0].Reason, want)
	}
	if !strings.Contains(buf.String(), `level=WARN msg="`+warning+`" service=web check=page`) {
		t.Errorf("log:\n%s", &buf)
	}
}
