package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/dnsserver"
)

// The bounds of what may be asked over UDP leave a burst less than an hour to be saved up in.
const (
	maxRate  = 1_000_000
	maxSlip  = 10
	maxConns = 65536
)

// protection reads what keeps the server from being of use against others.
func protection(file object) dnsserver.Protection {
	return dnsserver.Protection{Cookies: cookies(file.get("cookies")), RateLimit: rateLimit(file.get("rate_limit"))}
}

func cookies(it item) dnsserver.Cookies {
	o := it.object([]string{"off", "secret_file", "next_secret_file", "previous_secret_file"}, nil)
	c := dnsserver.Cookies{Off: o.get("off").boolean(false)}
	if c.Off && len(o.fields) > 1 {
		it.bad("are off: remove the rest, or off")
		return c
	}
	if o.has("secret_file") {
		c.Secret = cookieSecret(o.get("secret_file"))
	}
	for _, key := range []string{"next_secret_file", "previous_secret_file"} {
		if !o.has(key) {
			continue
		}
		if !o.has("secret_file") {
			o.get(key).bad("is beside the secret in use: add secret_file")
		}
		c.Accepted = append(c.Accepted, cookieSecret(o.get(key)))
	}
	return c
}

// cookieSecret reads a secret from the file that the item names. Its content is in no error.
func cookieSecret(it item) (secret [16]byte) {
	path := it.filePath()
	if path == "" {
		return secret
	}
	data, err := readRegular(path, 1024)
	if err == nil {
		secret, err = parseSecret(path, string(data))
	}
	if err != nil {
		it.bad("%v", err)
	}
	return secret
}

func parseSecret(path, data string) (secret [16]byte, err error) {
	text := strings.TrimSpace(data)
	if b, bad := hex.DecodeString(text); bad == nil && len(b) == len(secret) {
		copy(secret[:], b)
	} else {
		return secret, fmt.Errorf("%s must hold 32 hexadecimal digits on one line, such as openssl rand -hex 16 writes", path)
	}
	if secret == ([16]byte{}) {
		return secret, fmt.Errorf("%s holds zeros alone, which is no secret", path)
	}
	return secret, nil
}

func rateLimit(it item) dnsserver.RateLimit {
	o := it.object([]string{"off", "rate", "burst", "slip", "max_size", "dry_run", "exempt"}, nil)
	if o.get("off").boolean(false) {
		if len(o.fields) > 1 {
			it.bad("is off: remove the rest, or off")
		}
		return dnsserver.RateLimit{}
	}
	r := dnsserver.DefaultRateLimit
	r.Rate = int(o.get("rate").integer(int64(r.Rate), 1, maxRate))
	r.Burst = int(o.get("burst").integer(int64(r.Rate)*5/2, 1, 3600*int64(r.Rate)))
	r.Slip = int(o.get("slip").integer(int64(r.Slip), 0, maxSlip))
	r.MaxSize = int(o.get("max_size").integer(0, 128, 1232))
	r.DryRun = o.get("dry_run").boolean(false)
	seen := make(places[netip.Prefix])
	for _, p := range o.get("exempt").list("") {
		prefix := p.network("a prefix, such as 2001:db8::/32")
		seen.once(p, prefix)
		r.Exempt = append(r.Exempt, prefix)
	}
	return r
}

func tcpLimits(it item) dnsserver.TCP {
	o := it.object([]string{"connections", "per_client", "idle_timeout"}, nil)
	t := dnsserver.DefaultTCP
	t.Connections = int(o.get("connections").integer(int64(t.Connections), 1, maxConns))
	t.PerClient = int(o.get("per_client").integer(min(int64(t.PerClient), int64(t.Connections)), 1, int64(t.Connections)))
	t.Idle = o.get("idle_timeout").duration(t.Idle, 100*time.Millisecond, time.Hour)
	return t
}

// alpn reads the protocols that HTTPS and SVCB records tell (RFC 9460 section 7.1).
func alpn(list item) []string {
	var all []string
	seen := make(places[string])
	for _, it := range list.list("protocol") {
		id := it.str("a protocol of TLS, such as h2")
		if id != "" && (len(id) > 32 || !only(id, "-./_")) {
			it.bad("must be a protocol of TLS of at most 32 letters, digits, dots, slashes, hyphens and underscores, such as h2, not %q", id)
		}
		seen.once(it, id)
		all = append(all, id)
	}
	return all
}

// teller names the key of a service because of which its records tell a port.
func teller(service object) string {
	switch {
	case service.has("port_name"):
		return "a port_name"
	case service.has("alpn"):
		return "alpn"
	default:
		return ""
	}
}
