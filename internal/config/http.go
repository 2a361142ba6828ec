package config

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/anyedge/anyedge/pkg/health"
)

// maxCAs is more than any bundle of certificates: the one of a whole system has some 200 KiB.
const maxCAs = 4 << 20

func httpCheck(o destination, kind string) health.HTTP {
	c := health.HTTP{TLS: kind == "https"}
	c.Target, c.Path = o.page(kind)
	c.Local = o.local(c.Target.Addr())
	c.Method = o.get("method").choice(http.MethodGet, []string{http.MethodGet, http.MethodHead}, nil)
	c.Host = o.get("host").authority("a host name, such as api.edge.example", "-._:[]")
	c.Status = statusRanges(o.get("status"))
	c.Header = headers(o.get("header"))
	c.Body = o.get("body").pattern()
	c.FollowRedirects = o.get("follow_redirects").boolean(false)
	if c.Method == http.MethodHead && o.has("body") {
		o.get("body").bad("an answer to HEAD has no body: remove body, or method")
	}
	c.ServerName = o.get("server_name").authority("a host name, such as api.edge.example", "-._")
	c.Roots = authorities(o.get("ca_file"))
	c.InsecureSkipVerify = o.get("insecure_skip_verify").boolean(false)
	if c.InsecureSkipVerify && o.has("ca_file") {
		o.get("ca_file").bad("does nothing with insecure_skip_verify: remove one of them")
	}
	return c
}

// page reads where a request goes: ADDRESS:PORT with a path, or a URL.
func (o destination) page(scheme string) (netip.AddrPort, string) {
	if o.known {
		return o.endpoint, o.path()
	}
	it := o.need("target", `ADDRESS:PORT, or a URL such as "`+scheme+`://[::1]:8080/healthz"`)
	text, ok := it.scalar()
	if !ok || !strings.Contains(text, "://") {
		return it.addrPort(), o.path()
	}
	if o.has("path") {
		o.get("path").bad("target is a URL: write the path there")
	}
	return it.url(scheme)
}

func (o destination) path() string {
	it := o.get("path")
	text := it.str("a path, such as /healthz")
	if text == "" {
		return ""
	}
	if u, err := url.ParseRequestURI(text); err != nil || u.Path == "" || text[0] != '/' || strings.ContainsAny(text, " #") {
		it.bad("must be a path, such as /healthz or /ready?full=1, not %q", text)
		return ""
	}
	return text
}

// url reads a URL with an address for its host; the path comes with the query.
func (it item) url(scheme string) (netip.AddrPort, string) {
	const what = `a URL, such as "http://[::1]:8080/healthz"`
	text := it.str(what)
	u, err := url.Parse(text)
	switch {
	case text == "":
	case err != nil || strings.Contains(text, " ") || u.Opaque != "":
		it.bad("must be %s, not %q", what, text)
	case u.Scheme != scheme:
		it.bad("%s does not go with type %s: write %s://", u.Scheme, scheme, scheme)
	case u.User != nil:
		it.bad("credentials in a URL are not supported")
	case u.Fragment != "":
		it.bad("#%s never reaches the server: remove it", u.Fragment)
	default:
		return it.urlHost(u), u.RequestURI()
	}
	return netip.AddrPort{}, ""
}

// urlHost reads the address and the port of a URL; an HTTP check never asks a resolver.
func (it item) urlHost(u *url.URL) netip.AddrPort {
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil || badZone(a) {
		it.bad("must have an address for its host, such as %s://[::1]/: write the name %q as host", u.Scheme, u.Hostname())
		return netip.AddrPort{}
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		it.bad("must have a port from 1 to 65535, not %s", port)
		return netip.AddrPort{}
	}
	if !it.host(a).IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, uint16(n))
}

// authority reads a host name made of letters, digits and extra; empty when absent.
func (it item) authority(what, extra string) string {
	text := it.str(what)
	if text != "" && (len(text) > 255 || !only(text, extra)) {
		it.bad("must be %s, not %q", what, text)
		return ""
	}
	return text
}

func statusRanges(list item) []health.StatusRange {
	if !list.present() {
		return nil
	}
	var all []health.StatusRange
	for _, it := range list.list("status") {
		const what = "a status from 100 to 599, or a range such as 200-299"
		text, ok := it.text(what)
		if !ok {
			continue
		}
		from, to, ranged := strings.Cut(text, "-")
		if !ranged {
			to = from
		}
		r := health.StatusRange{From: status(from), To: status(to)}
		if r.From == 0 || r.To < r.From {
			it.bad("must be %s, not %q", what, text)
		}
		all = append(all, r)
	}
	return all
}

// status returns 0 for what is no status.
func status(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || n < 100 || n > 599 {
		return 0
	}
	return n
}

func headers(it item) []health.HeaderMatch {
	if !it.present() {
		return nil
	}
	var all []health.HeaderMatch
	for _, p := range it.pairs() {
		if !only(p.name, "-_") {
			p.key.bad("must be the name of a header, such as Content-Type")
		}
		all = append(all, health.HeaderMatch{Name: p.name, Value: p.value.pattern()})
	}
	return all
}

// authorities reads the file of certificates that the item names.
func authorities(it item) *x509.CertPool {
	path := it.filePath()
	if path == "" {
		return nil
	}
	pem, err := readRegular(path, maxCAs)
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	if err != nil {
		it.bad("%v", err)
		return nil
	}
	return pool
}
