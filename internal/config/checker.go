package config

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"strings"

	"github.com/anyedge/anyedge/pkg/health"
)

// maxSend bounds what a check sends: it asks, it does not load.
const maxSend = 4096

// checker reads what a check of a type does. An unknown type was reported already: it does nothing.
func checker(o destination, kind string) health.Checker {
	switch kind {
	case "tcp":
		return tcpCheck(o)
	case "udp":
		return udpCheck(o)
	case "dns":
		return dnsCheck(o)
	case "http", "https":
		return httpCheck(o, kind)
	case "icmp":
		return icmpCheck(o)
	case "exec":
		return execCheck(o.object)
	default:
		return nil
	}
}

// A destination is an active check and where it goes.
type destination struct {
	object
	known    bool           // it is an endpoint's: the file names it elsewhere
	endpoint netip.AddrPort // when known; zero: it was refused there
}

func (o destination) addrPort() netip.AddrPort {
	if o.known {
		return o.endpoint
	}
	return o.need("target", "ADDRESS:PORT").addrPort()
}

// local reads where a check that goes to target starts from.
func (o destination) local(target netip.Addr) health.Local {
	var l health.Local
	if o.has("source") {
		l.Source = o.get("source").addr("an IP address, such as 2001:db8::1")
	}
	if l.Source.IsValid() && target.IsValid() && l.Source.Is4() != target.Is4() {
		o.get("source").bad("%s cannot reach %s: write an address of the same family", l.Source, target)
	}
	if o.has("device") {
		l.Device = o.get("device").ifname()
	}
	return l
}

func tcpCheck(o destination) health.TCP {
	c := health.TCP{Target: o.addrPort(), Send: payload(o.object), Expect: o.get("expect").pattern()}
	c.Local = o.local(c.Target.Addr())
	for _, key := range []string{"send", "send_hex"} {
		if o.has(key) && !o.has("expect") {
			o.get(key).bad(`does nothing without a reply to wait for: add expect, "." for any`)
		}
	}
	return c
}

func udpCheck(o destination) health.UDP {
	if !o.has("send_hex") {
		o.need("send", `what to send, or send_hex: "..."`)
	}
	c := health.UDP{Target: o.addrPort(), Send: payload(o.object), Expect: o.get("expect").pattern()}
	c.Local = o.local(c.Target.Addr())
	return c
}

func icmpCheck(o destination) health.ICMP {
	c := health.ICMP{Target: o.endpoint.Addr()}
	if !o.known {
		c.Target = o.need("target", "ADDRESS").addr("an IP address without a port, such as 2001:db8::1")
	}
	c.Local = o.local(c.Target)
	return c
}

// payload reads what is sent, which is written as text or in hex.
func payload(o object) []byte {
	if !o.has("send_hex") {
		return o.get("send").bytes()
	}
	if o.has("send") {
		o.get("send_hex").bad("send is there too: remove one of them")
		return nil
	}
	return o.get("send_hex").hex()
}

// bytes reads text that may hold anything, such as "PING\r\n"; nil when it was refused.
func (it item) bytes() []byte {
	text, ok := it.text("text")
	switch {
	case !ok:
	case it.node.Tag != "!!str":
		it.bad("must be text: put %s in quotes", text)
	case text == "" || len(text) > maxSend:
		it.bad("must be text of 1 to %d bytes", maxSend)
	default:
		return []byte(text)
	}
	return nil
}

// hex reads bytes in hex; blanks between them are passed over.
func (it item) hex() []byte {
	const what = `bytes in hex, such as "01 ff"`
	text, ok := it.text(what)
	if !ok {
		return nil
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	switch {
	case err != nil:
		it.bad("must be %s", what)
	case len(b) == 0 || len(b) > maxSend:
		it.bad("must be 1 to %d bytes in hex", maxSend)
	default:
		return b
	}
	return nil
}

// pattern reads a regular expression; nil when absent.
func (it item) pattern() *regexp.Regexp {
	if !it.present() {
		return nil
	}
	text := it.str("a regular expression")
	if text == "" {
		return nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		it.bad("must be a regular expression (RE2): %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	return re
}

func dnsCheck(o destination) health.DNS {
	c := health.DNS{Target: o.addrPort()}
	c.Local = o.local(c.Target.Addr())
	it := o.need("query", `name and type, such as "health.edge.example. AAAA"`)
	text := it.str("name and type")
	words := strings.Fields(text)
	if text == "" {
		return c
	}
	if len(words) != 2 {
		it.bad(`must be a name and a type, such as "health.edge.example. AAAA", not %q`, text)
		return c
	}
	name, why := domainName(words[0])
	if why != "" {
		it.bad("%s", why)
	}
	c.Name, c.Type = name, rrTypes()[words[1]]
	if c.Type == 0 {
		it.bad("must ask for a type such as AAAA, A, SOA, NS, TXT or SRV, not %q", words[1])
	}
	return c
}

// rrTypes are the types that a check may ask for (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
func rrTypes() map[string]uint16 {
	return map[string]uint16{"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
}
