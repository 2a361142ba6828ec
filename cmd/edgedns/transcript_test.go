package main

import (
	"cmp"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
)

// A transcript is what a client of another make printed of one answer, in one form for all of them:
//
//	NOERROR aa rd                       rcode, then flags but for qr, which every answer must have
//	api.edge.example. 5 IN A 10.1.0.10  records as in a zone file; the serial of a SOA record is SERIAL
//	authority RECORD, additional RECORD
//	edns 0 udp 1232 do, nsid mec-1      version, size, flags, options in their order
//	no question                         it did not come back
type transcript struct {
	text, question string
	size           int // octets
}

// A digger is dig or kdig: two readers of the same octets that share no code.
type digger struct{ name, path string }

func newDigger(t *testing.T, name string) digger {
	return digger{name, nettest.Program(t, name, map[string]string{"dig": "bind9-dnsutils", "kdig": "knot-dnsutils"}[name])}
}

// ask asks a server with arguments that are in the form of both; what they do by themselves is turned off.
func (d digger) ask(t *testing.T, server, args string) transcript {
	t.Helper()
	return d.askAll(t, server, args)[0]
}

// askAll asks several questions in one go: their names and types end the arguments, one after the other.
func (d digger) askAll(t *testing.T, server, args string) (all []transcript) {
	t.Helper()
	command := []string{"@" + server, "+norecurse", "+noadflag", "+nocookie", "+nobadcookie", "+ignore", "+timeout=10"}
	if d.name == "dig" {
		command = append([]string{"-r"}, append(command, "+tries=1", "+noednsneg")...)
	} else {
		command = append(command, "+retry=0", "+noidn")
	}
	out, err := exec.CommandContext(t.Context(), d.path, append(command, strings.Fields(args)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", d.name, args, err, out)
	}
	for _, one := range strings.Split(string(out), ";; ->>HEADER<<-")[1:] {
		got, err := readTranscript(one)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", d.name, args, err, out)
		}
		all = append(all, got)
	}
	if len(all) == 0 {
		t.Fatalf("%s %s: no answer\n%s", d.name, args, out)
	}
	return all
}

var (
	statusLine  = regexp.MustCompile(`^ opcode: .* status: ([A-Z0-9]+)`)
	flagsLine   = regexp.MustCompile(`^;; [Ff]lags: ?([a-z ]*);`)
	ednsLine    = regexp.MustCompile(`^;+ (?:EDNS: version|Version): (\d+)[,;] flags: ?([a-z ]*); (?:udp|UDP size): (\d+)`)
	optionLine  = regexp.MustCompile(`^;+ ([A-Z][A-Z0-9 =-]*?): ?(.*)$`)
	sectionLine = regexp.MustCompile(`^;; ([A-Z]+) (?:PSEUDO)?SECTION:$`)
	sizeLine    = regexp.MustCompile(`^;; (?:MSG SIZE  rcvd:|Received) (\d+)`)
	serial      = regexp.MustCompile(`( IN SOA \S+ \S+) \d+`)
)

// complaints are what the clients say when they do not like an answer.
var complaints = []string{";; WARNING: Message", "mismatch", "malformed", "MBZ", "Got bad packet", "extra bytes", ";; WARNING: EDNS", "invalid"}

func readTranscript(out string) (transcript, error) {
	var got transcript
	var edns []string
	section := ""
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, " \n")
		for _, c := range complaints {
			if strings.Contains(line, c) {
				return got, fmt.Errorf("complains: %s", line)
			}
		}
		switch {
		case statusLine.MatchString(line):
			got.text = statusLine.FindStringSubmatch(line)[1]
		case flagsLine.MatchString(line):
			flags := strings.Fields(flagsLine.FindStringSubmatch(line)[1])
			if len(flags) == 0 || flags[0] != "qr" {
				return got, fmt.Errorf("flags %v: this is no response", flags)
			}
			got.text = strings.Join(append([]string{got.text}, flags[1:]...), " ") + "\n"
		case sectionLine.MatchString(line):
			section = sectionLine.FindStringSubmatch(line)[1]
		case ednsLine.MatchString(line):
			m := ednsLine.FindStringSubmatch(line)
			edns = append(edns, strings.TrimRight("edns "+m[1]+" udp "+m[3]+" "+m[2], " "))
		case sizeLine.MatchString(line):
			got.size, _ = strconv.Atoi(sizeLine.FindStringSubmatch(line)[1])
		case section == "QUESTION" && strings.HasPrefix(line, ";"):
			got.question = strings.Join(strings.Fields(strings.TrimLeft(line, "; ")), " ")
		case strings.HasPrefix(line, ";; SERVER:"), strings.HasPrefix(line, ";; WHEN:"): // dig leaves no line empty after a header alone
			section = ""
		case (section == "OPT" || section == "EDNS") && optionLine.MatchString(line):
			m := optionLine.FindStringSubmatch(line)
			edns = append(edns, option(m[1], m[2]))
		case line == "":
			section = ""
		case strings.HasPrefix(line, ";"):
		default:
			got.text += map[string]string{"AUTHORITY": "authority ", "ADDITIONAL": "additional "}[section] + record(line) + "\n"
		}
	}
	if got.question == "" {
		got.text += "no question\n"
	}
	if len(edns) > 0 {
		got.text += strings.Join(edns, ", ") + "\n"
	}
	return got, nil
}

func record(line string) string {
	return serial.ReplaceAllString(strings.Join(strings.Fields(line), " "), "$1 SERIAL")
}

var (
	quoted = regexp.MustCompile(`"(.*)"`)
	ede    = regexp.MustCompile(`^(\d+)(?: \([^)]*\))?(?:: [('](.*)[)'])?`)
)

// option brings the ways in which clients print an EDNS option into one.
func option(name, value string) string {
	switch name {
	case "NSID":
		return "nsid " + quoted.FindStringSubmatch(value)[1]
	case "EDE":
		m := ede.FindStringSubmatch(value)
		return strings.TrimRight("ede "+m[1]+" "+m[2], " ")
	case "COOKIE":
		if strings.HasSuffix(value, ")") && !strings.HasSuffix(value, "(good)") { // dig judges it, kdig does not
			return "cookie " + value
		}
		return "cookie"
	case "CLIENT-SUBNET":
		return "subnet " + value
	default:
		return strings.ToLower(name) + " " + cmp.Or(value, "empty")
	}
}
