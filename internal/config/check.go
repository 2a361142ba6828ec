package config

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// What a check has when the file does not say.
const (
	checkInterval = time.Second
	checkTimeout  = 500 * time.Millisecond
	checkFast     = 200 * time.Millisecond
	checkRise     = 3
	checkFall     = 3
)

// The bounds of a check's times: below, a host checks more than it serves; above, nobody waits.
const (
	minInterval = 10 * time.Millisecond
	maxInterval = time.Hour
	minTimeout  = time.Millisecond
	maxCount    = 1000
)

func checks(list item) []health.Check {
	var all []health.Check
	names := make(places[string])
	for _, it := range list.list("check") {
		c := check(it, names)
		all = append(all, c)
	}
	if len(all) > 0 && !slices.ContainsFunc(all, func(c health.Check) bool { return !c.Remote }) {
		list.bad("needs a check that is not remote: remote ones never take the service down")
	}
	return all
}

// require reads how many of the checks must pass; 0 is all. Remote ones do not count.
func require(it item, checks []health.Check) int {
	local := 0
	for _, c := range checks {
		if !c.Remote {
			local++
		}
	}
	if it.present() && it.node.Tag == "!!int" {
		if local == 0 {
			return 0 // it was reported that there is no check
		}
		return int(it.integer(0, 1, int64(local)))
	}
	if text, ok := it.text("all, any or a number"); ok && text != "all" && text != "any" {
		it.bad("must be all, any or a number, not %q", text)
	} else if text == "any" {
		return 1
	}
	return 0
}

// check reads one check of a service; which keys it has depends on its type.
func check(it item, names places[string]) health.Check {
	o := it.object(append([]string{"name", "scope"}, checkKeys("")...), nil)
	name := o.need("name", "the check's name").label("a name")
	names.once(o.get("name"), name)
	kind := o.need("type", "one of "+strings.Join(checkTypes(), ", ")).choice("", checkTypes(), laterChecks())
	refuseOthers(o, kind)
	c := schedule(o)
	c.Name, c.Remote = name, o.get("scope").choice("local", []string{"local", "remote"}, nil) == "remote"
	if watches(kind) {
		if c.Remote {
			o.get("scope").bad("a %s is on this host: write local", kind)
		}
		c.Listener, c.Process = watched(o, kind)
		c.Timeout, c.Rise, c.Fall = 0, 1, 1 // what the kernel says is never in doubt
		return c
	}
	c.Checker = checker(destination{object: o}, kind)
	return c
}

func checkTypes() []string {
	return []string{"tcp", "udp", "dns", "http", "https", "icmp", "exec", "listener", "process"}
}

// watches tells that the kernel tells a check of that type what it wants to know.
func watches(kind string) bool { return kind == "listener" || kind == "process" }

func laterChecks() []string {
	return []string{"http2", "grpc", "tls", "file", "load"}
}

// checkKeys returns the keys of a type of check beside its name; of an unknown type, all.
func checkKeys(kind string) []string {
	keys := []string{"type", "interval", "fast_interval"}
	httpKeys := []string{"target", "path", "host", "method", "status", "header", "body", "follow_redirects", "source", "device"}
	own := map[string][]string{
		"tcp":      {"target", "send", "send_hex", "expect", "source", "device"},
		"udp":      {"target", "send", "send_hex", "expect", "source", "device"},
		"dns":      {"target", "query", "source", "device"},
		"http":     httpKeys,
		"https":    append(httpKeys, "server_name", "ca_file", "insecure_skip_verify"),
		"icmp":     {"target", "source", "device"},
		"exec":     {"command", "env"},
		"listener": {"proto", "port", "address", "netns", "pid", "pid_file"},
		"process":  {"pid_file", "cgroup", "unit"},
	}
	if !watches(kind) {
		keys = append(keys, "timeout", "fall", "rise")
	}
	if kind != "" {
		return append(keys, own[kind]...)
	}
	for _, kind := range checkTypes() {
		for _, key := range own[kind] {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// refuseOthers reports keys that another type of check has and that would do nothing here.
func refuseOthers(o object, kind string) {
	if kind == "" {
		return
	}
	for _, key := range checkKeys("") {
		if o.has(key) && !slices.Contains(checkKeys(kind), key) {
			o.get(key).bad("does nothing with type %s: remove it", kind)
		}
	}
}

// schedule reads when a check is made. Defaults bow to a shorter interval.
func schedule(o object) health.Check {
	before := len(o.f.problems)
	c := health.Check{Interval: o.get("interval").duration(checkInterval, minInterval, maxInterval)}
	c.Timeout = o.get("timeout").duration(min(checkTimeout, c.Interval), minTimeout, maxInterval)
	c.FastInterval = o.get("fast_interval").duration(min(checkFast, c.Interval), minInterval, maxInterval)
	c.Rise = int(o.get("rise").integer(checkRise, 1, maxCount))
	c.Fall = int(o.get("fall").integer(checkFall, 1, maxCount))
	if len(o.f.problems) > before {
		return c // what was not read cannot be compared
	}
	if c.Timeout > c.Interval {
		o.get("timeout").bad("%s is longer than the interval of %s", span(c.Timeout), span(c.Interval))
	}
	if c.FastInterval > c.Interval {
		o.get("fast_interval").bad("%s is longer than the interval of %s", span(c.FastInterval), span(c.Interval))
	}
	return c
}

func watched(o object, kind string) (*health.Listener, *health.Process) {
	if kind == "process" {
		return nil, process(o)
	}
	return listener(o), nil
}

func listener(o object) *health.Listener {
	l := &health.Listener{
		Network:   o.need("proto", "tcp or udp").choice("", []string{"tcp", "udp"}, nil),
		Port:      uint16(o.need("port", "the port that is listened on").integer(0, 1, 65535)),
		Namespace: namespace(o),
	}
	if o.has("address") {
		l.Address = o.get("address").addr("an IP address, such as ::1")
	}
	return l
}

// maxPID is the kernel's PID_MAX_LIMIT.
const maxPID = 1 << 22

// namespace reads where the sockets of a listener are.
func namespace(o object) health.Namespace {
	var n health.Namespace
	switch o.atMostOne("netns", "pid", "pid_file") {
	case "netns":
		n.Path = o.get("netns").absolute()
	case "pid":
		n.PID = int(o.get("pid").integer(0, 1, maxPID))
	case "pid_file":
		n.PIDFile = o.get("pid_file").absolute()
	}
	return n
}

// process reads what is watched of a program.
func process(o object) *health.Process {
	p := new(health.Process)
	switch o.atMostOne("pid_file", "cgroup", "unit") {
	case "pid_file":
		p.PIDFile = o.get("pid_file").absolute()
	case "cgroup":
		p.Cgroup = o.get("cgroup").absolute()
	case "unit":
		p.Unit = o.get("unit").unit()
	default:
		o.need("pid_file", "the file with the program's process number, or cgroup: a directory, or unit: NAME.service")
	}
	return p
}

// atMostOne returns which of some keys is there, "" if none is, and reports all but the first.
func (o object) atMostOne(keys ...string) (first string) {
	for _, key := range keys {
		switch {
		case !o.has(key):
		case first == "":
			first = key
		default:
			o.get(key).bad("%s is there too: remove one of them", first)
		}
	}
	return first
}

// unit reads the name of a systemd unit that processes run in (systemd.unit(5)).
func (it item) unit() string {
	const what = "the full name of a unit that processes run in, such as edgedns.service"
	text := it.str(what)
	if text == "" {
		return ""
	}
	kinds := []string{".service", ".scope", ".slice"}
	if len(text) > 255 || !alphanumeric(text[0]) || !only(text, `:-_.\@`) || !slices.Contains(kinds, path.Ext(text)) {
		it.bad("must be %s, not %q", what, text)
		return ""
	}
	return text
}
