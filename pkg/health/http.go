package health

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// HTTP asks Target once, over a connection of its own; a status that is wanted, with the header and the body that are
// wanted, passes. It follows no redirect unless told so, and never leaves Target: Host and ServerName are names only.
type HTTP struct {
	Local
	Target          netip.AddrPort
	Method          string // GET or HEAD; empty: GET
	Path            string // with query; empty: /
	Host            string // Host header; empty: Target
	Status          []StatusRange
	Header          []HeaderMatch  // all must match
	Body            *regexp.Regexp // nil: any; the first 64 KiB are looked at
	FollowRedirects bool           // up to maxRedirects, all of them at Target

	TLS                bool
	ServerName         string         // in SNI and in the certificate; empty: Host without its port, else the address
	Roots              *x509.CertPool // nil: the system's
	InsecureSkipVerify bool           // takes any certificate, so anybody may answer; see Warning
}

// StatusRange is a range of HTTP status codes, both included. Without any, 200 to 399 pass.
type StatusRange struct{ From, To int }

// HeaderMatch wants that one value of header Name matches.
type HeaderMatch struct {
	Name  string
	Value *regexp.Regexp
}

// maxRedirects is how many redirects are followed.
const maxRedirects = 5

// Warning tells what makes a pass of the check worth less than it seems, empty when there is nothing. It is logged when
// the monitor starts and stands in the reason of the status.
func (c HTTP) Warning() string {
	if c.TLS && c.InsecureSkipVerify {
		return "TLS certificate NOT verified (insecure_skip_verify): anybody may answer"
	}
	return ""
}

// Check makes one request and reads the answer.
func (c HTTP) Check(ctx context.Context) error {
	started := time.Now()
	request, err := c.request(ctx)
	if err != nil {
		return err
	}
	client := http.Client{Transport: exchange{c}, CheckRedirect: c.redirect}
	answer, err := client.Do(request)
	if err != nil {
		return explainHTTP(ctx, started, err)
	}
	defer answer.Body.Close()
	if err := c.judge(answer); err != nil {
		return err
	}
	return c.judgeBody(ctx, started, answer.Body)
}

func (c HTTP) request(ctx context.Context) (*http.Request, error) {
	u, err := url.Parse(c.scheme() + "://" + c.authority() + cmp.Or(c.Path, "/"))
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, cmp.Or(c.Method, http.MethodGet), u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	r.Header.Set("User-Agent", "anyedge-health")
	return r, nil
}

func (c HTTP) scheme() string {
	if c.TLS {
		return "https"
	}
	return "http"
}

func (c HTTP) authority() string {
	ap := netip.AddrPortFrom(c.Target.Addr().WithZone(""), c.Target.Port()) // a zone means nothing to the server
	return cmp.Or(c.Host, ap.String())
}

// redirect tells the client whether to follow; it is called with the next request and those before it.
func (c HTTP) redirect(next *http.Request, before []*http.Request) error {
	switch {
	case !c.FollowRedirects:
		return http.ErrUseLastResponse
	case next.URL.Scheme != c.scheme() || next.URL.Host != c.authority():
		return fmt.Errorf("redirected elsewhere: %q", next.URL.Redacted())
	case len(before) > maxRedirects:
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	default:
		return nil
	}
}

func (c HTTP) judge(answer *http.Response) error {
	if !c.wants(answer.StatusCode) {
		return fmt.Errorf("answered %d%s", answer.StatusCode, statusText(answer))
	}
	for _, h := range c.Header {
		values := answer.Header.Values(h.Name)
		if !slices.ContainsFunc(values, h.Value.MatchString) {
			return fmt.Errorf("header %s is %q, which does not match %q", h.Name, values, h.Value)
		}
	}
	return nil
}

func (c HTTP) wants(status int) bool {
	if len(c.Status) == 0 {
		return 200 <= status && status <= 399
	}
	return slices.ContainsFunc(c.Status, func(r StatusRange) bool { return r.From <= status && status <= r.To })
}

// statusText is what the code means, not what the server says of it: that is foreign text.
func statusText(answer *http.Response) string {
	text := http.StatusText(answer.StatusCode)
	if location := answer.Header.Get("Location"); location != "" {
		return fmt.Sprintf(" %s, to %q", text, location)
	}
	if text != "" {
		return " " + text
	}
	return ""
}

func (c HTTP) judgeBody(ctx context.Context, started time.Time, body io.Reader) error {
	if c.Body == nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(body, maxReply))
	switch {
	case c.Body.Match(b):
		return nil
	case err != nil:
		return fmt.Errorf("in the body: %w", explainHTTP(ctx, started, err))
	default:
		return mismatch(b, c.Body)
	}
}

// explainHTTP says what went wrong, without the method and the URL that package http puts in front.
func explainHTTP(ctx context.Context, started time.Time, err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if tlsErr := explainTLS(err); tlsErr != nil {
		return tlsErr
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil {
		return errors.New("closed before the answer was complete")
	}
	return explain(ctx, started, err)
}
