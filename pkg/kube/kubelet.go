package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// maxPage bounds what of a kubelet's page is read: 500 pods of three containers are some 500 KiB.
const maxPage = 8 << 20

// kubeletTransport reaches kubelets with the credentials of the API. That those who sign for the API are not looked at does
// not hold for kubelets: they are given the credentials.
func kubeletTransport(cfg *rest.Config, k Kubelets) (http.RoundTripper, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent, cfg.ServerName, cfg.Insecure = "anyedge", "", k.Insecure
	if k.Insecure || k.CAFile != "" {
		cfg.CAFile, cfg.CAData = k.CAFile, nil
	}
	return rest.TransportFor(cfg)
}

// newKubeletClient never goes where a kubelet sends it: the credentials would go along.
func newKubeletClient(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// readKubelet asks a kubelet once.
func (m *Meter) readKubelet(ctx context.Context, at netip.Addr) {
	counters := make(map[key]counter)
	page, err := m.page(ctx, at)
	if err == nil {
		if err = scanPage(page, time.Now(), func(k key, c counter) { counters[k] = c }); err != nil {
			clear(counters)
		}
	}
	if ctx.Err() != nil {
		return // that tells nothing of the kubelet
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, wanted := m.failed[at]
	if !wanted {
		return
	}
	m.failed[at] = m.outcome("kubelet", at.String(), old, err)
	now := time.Now()
	for k, c := range counters {
		if u := m.uses[k]; u != nil && u.host == at {
			u.count(c.seconds, c.stamp, now)
		}
	}
}

// page asks a kubelet for its page.
func (m *Meter) page(ctx context.Context, at netip.Addr) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	to := url.URL{Scheme: "https", Host: netip.AddrPortFrom(at, m.cfg.Kubelets.Port).String(), Path: "/metrics/resource"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain;version=0.0.4")
	answer, err := m.kubelets.Do(request)
	if err != nil {
		return nil, m.explain(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPage+1)) // whatever it says: the connection is kept then
	switch {
	case answer.StatusCode != http.StatusOK:
		return nil, refusal(answer.StatusCode)
	case err != nil:
		return nil, m.explain(err)
	case len(body) > maxPage:
		return nil, fmt.Errorf("its page is longer than %d MiB", maxPage>>20)
	default:
		return body, nil
	}
}

func (m *Meter) explain(err error) error {
	var wrapped *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", m.cfg.Timeout)
	case errors.As(err, &wrapped):
		return wrapped.Err
	default:
		return err
	}
}

func refusal(status int) error {
	text := fmt.Sprintf("answered %d %s", status, http.StatusText(status))
	switch status {
	case http.StatusUnauthorized:
		return errors.New(text + ": it does not take the credentials: see to its webhook authentication")
	case http.StatusForbidden:
		return errors.New(text + ": grant get of nodes/metrics")
	default:
		return errors.New(text)
	}
}

// A counter is how much processor time a pod has used, at a time by the clock of its kubelet.
type counter struct {
	seconds float64
	stamp   time.Time
}

// podCounter begins the lines that are read of a kubelet's page.
var podCounter = []byte("pod_cpu_usage_seconds_total{")

// scanPage calls each for every pod of which a kubelet's page tells. Nothing else on the page is read, so a mistake in it does no
// harm. A line without a time is as old as the answer. The page is foreign text: any bytes may come.
func scanPage(page []byte, now time.Time, each func(key, counter)) error {
	for number := 1; len(page) > 0; number++ {
		var line []byte
		line, page, _ = bytes.Cut(page, []byte{'\n'})
		rest, ours := bytes.CutPrefix(line, podCounter)
		if !ours {
			continue
		}
		k, rest, ok := podLabels(rest)
		if !ok {
			return fmt.Errorf("line %d of its page: labels of no pod", number)
		}
		c, err := readCounter(rest, now)
		if err != nil {
			return fmt.Errorf("line %d of its page: %w", number, err)
		}
		each(k, c)
	}
	return nil
}

// podLabels reads the labels that follow a brace, and returns what follows them. Names of pods and namespaces have nothing in
// them that must be escaped.
func podLabels(rest []byte) (k key, after []byte, ok bool) {
	for len(rest) > 0 && rest[0] != '}' {
		name, more, opened := bytes.Cut(rest, []byte(`="`))
		value, more, closed := bytes.Cut(more, []byte{'"'})
		if !opened || !closed || bytes.IndexByte(value, '\\') >= 0 {
			return k, nil, false
		}
		switch string(name) {
		case "namespace":
			k.namespace = string(value)
		case "pod":
			k.name = string(value)
		}
		rest = bytes.TrimPrefix(more, []byte{','})
	}
	if len(rest) == 0 || k.namespace == "" || k.name == "" {
		return k, nil, false
	}
	return k, rest[1:], true
}

// readCounter reads a value and the time in milliseconds that may follow it.
func readCounter(rest []byte, now time.Time) (counter, error) {
	fields := bytes.Fields(rest)
	if len(fields) < 1 || len(fields) > 2 {
		return counter{}, errors.New("no value")
	}
	c := counter{stamp: now}
	var err error
	if c.seconds, err = strconv.ParseFloat(string(fields[0]), 64); err != nil || !(c.seconds >= 0) || math.IsInf(c.seconds, 1) {
		return counter{}, fmt.Errorf("%.40q is no time", fields[0])
	}
	if len(fields) == 2 {
		ms, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil || ms <= 0 {
			return counter{}, fmt.Errorf("%.40q is no moment", fields[1])
		}
		c.stamp = time.UnixMilli(ms)
	}
	return c, nil
}
