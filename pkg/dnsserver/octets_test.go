package dnsserver

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/internal/nettest"
)

// octets assembles a message: hexadecimal digits are octets, 'text' is a label with its length before it, *N repeats what
// it follows N times.
func octets(t testing.TB, text string) (b []byte) {
	t.Helper()
	for _, token := range strings.Fields(text) {
		token, times, repeated := strings.Cut(token, "*")
		part, err := hex.DecodeString(token)
		if label, ok := strings.CutPrefix(token, "'"); ok && strings.HasSuffix(label, "'") {
			part, err = append([]byte{byte(len(label) - 1)}, label[:len(label)-1]...), nil
		}
		n := 1
		if repeated && err == nil {
			n, err = strconv.Atoi(times)
		}
		if err != nil {
			t.Fatalf("%s: %v", token, err)
		}
		b = append(b, bytes.Repeat(part, n)...)
	}
	return b
}

const (
	oneQuestion   = "1267 0000 0001 0000 0000 0000 " // a header
	andAdditional = "1267 0000 0001 0000 0000 0001 " // one with an additional record
	abAAAA        = "'a' 'b' 'edge' 'example' 00 001c 0001 "
	optRecord     = "00 0029 04d0 00 00 0000 " // its RDLENGTH and RDATA follow
	optRecord1    = "00 0029 04d0 00 01 0000 " // of EDNS version 1
	ab            = "NOERROR aa\na.b.edge.example. 30 IN AAAA 2001:db8:1::20\n"
)

// oddQueries are queries that no client library makes, and what must come back over every transport.
var oddQueries = []struct{ name, message, want string }{
	{"a header, and no question", oneQuestion, "FORMERR\n"},
	{"no question is announced", "1267 0000 0000 0000 0000 0000", "FORMERR\n"},
	{"two questions", "1267 0000 0002 0000 0000 0000 " + abAAAA + abAAAA, "FORMERR\n"},
	{"65535 questions", "1267 0000 ffff 0000 0000 0000 " + abAAAA, "FORMERR\n"},
	{"RD comes back from what cannot be read", "1267 0100 0002 0000 0000 0000", "FORMERR rd\n"},
	{"a name that does not end", oneQuestion + "'a' 'b' 'edge' 'example'", "FORMERR\n"},
	{"a label that does not end", oneQuestion + "3f 61*5", "FORMERR\n"},
	{"no type", oneQuestion + "'a' 'b' 'edge' 'example' 00", "FORMERR\n"},
	{"no class", oneQuestion + "'a' 'b' 'edge' 'example' 00 001c", "FORMERR\n"},
	{"half a class", oneQuestion + "'a' 'b' 'edge' 'example' 00 001c 00", "FORMERR\n"},

	{"a label of 63", oneQuestion + "3f 61*63 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},
	{"a label of 64", oneQuestion + "40 61*64 'edge' 'example' 00 001c 0001", "FORMERR\n"},
	{"a label of 127", oneQuestion + "7f 61*127 'edge' 'example' 00 001c 0001", "FORMERR\n"},
	{"a label of a kind that does not exist", oneQuestion + "80 61 'edge' 'example' 00 001c 0001", "FORMERR\n"},
	{"a name of 255", oneQuestion + "3f 61*63 3f 61*63 3f 61*63 30 61*48 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},
	{"a name of 256", oneQuestion + "3f 61*63 3f 61*63 3f 61*63 31 61*49 'edge' 'example' 00 001c 0001", "FORMERR\n"},
	{"127 labels", oneQuestion + "0161*120 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},
	{"128 labels", oneQuestion + "0161*121 'edge' 'example' 00 001c 0001", "FORMERR\n"},

	{"two questions and EDNS", "1267 0000 0002 0000 0000 0001 " + abAAAA + abAAAA + "00 0029 04d0 00 00 8000 0000", "FORMERR\nedns 0 udp 1232 do\n"},
	{"an opcode that we do not know and EDNS", "1267 2800 0001 0000 0000 0001 " + abAAAA + optRecord + "0000", "NOTIMP\nedns 0 udp 1232\n"},
	{"an OPT record behind what cannot be read", "1267 0000 0001 0000 0000 0001 40 61*64 00 001c 0001 " + optRecord + "0000", "FORMERR\n"},

	{"a pointer into the header", oneQuestion + "c000 001c 0001", "FORMERR\n"},
	{"a pointer to itself", oneQuestion + "c00c 001c 0001", "FORMERR\n"},
	{"a pointer to the label before it", oneQuestion + "'a' c00c 001c 0001", "FORMERR\n"},
	{"a pointer forward", oneQuestion + "c00e 00 001c 0001", "FORMERR\n"},
	{"a pointer beyond the end", oneQuestion + "'a' c0ff 001c 0001", "FORMERR\n"},
	{"half a pointer", oneQuestion + "'a' c0", "FORMERR\n"},

	{"junk behind the question", oneQuestion + abAAAA + "deadbeef", ab},
	{"junk behind the OPT record", andAdditional + abAAAA + optRecord + "0000 deadbeef", ab + "edns 0 udp 1232\n"},
	{"an OPT record that is not announced", oneQuestion + abAAAA + optRecord + "0000", ab},
	{"options behind the OPT record", andAdditional + abAAAA + optRecord + "0000 0003 0000", ab + "edns 0 udp 1232\n"},
	{"another question behind the question", oneQuestion + abAAAA + "'api' 'edge' 'example' 00 001c 0001", ab},
	{"a record is announced and missing", andAdditional + abAAAA, "FORMERR\n"},
	{"half an OPT record", andAdditional + abAAAA + "00 0029 04d0", "FORMERR\n"},
	{"an OPT record longer than the message", andAdditional + abAAAA + optRecord + "0008 0003 0000", "FORMERR\n"},
	{"an option longer than its record", andAdditional + abAAAA + optRecord + "0005 0003 0009 78", "FORMERR\nedns 0 udp 1232\n"},
	{"an option without length", andAdditional + abAAAA + optRecord + "0002 0003", "FORMERR\nedns 0 udp 1232\n"},
	{"EDNS 1: an option longer than its record", andAdditional + abAAAA + optRecord1 + "0005 0003 0009 78", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: an option without length", andAdditional + abAAAA + optRecord1 + "0002 0003", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: half a client subnet", andAdditional + abAAAA + optRecord1 + "0006 0008 0002 0001", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: half a cookie", andAdditional + abAAAA + optRecord1 + "0008 000a 0004 01020304", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: no question", "1267 0000 0000 0000 0000 0001 " + optRecord1 + "0000", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: two questions", "1267 0000 0002 0000 0000 0001 " + abAAAA + abAAAA + optRecord1 + "0000", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: two OPT records", "1267 0000 0001 0000 0000 0002 " + abAAAA + optRecord1 + "0000 " + optRecord + "0000", "BADVERS\nedns 0 udp 1232\n"},
	{"EDNS 1: another class", andAdditional + "'a' 'b' 'edge' 'example' 00 001c 0003 " + optRecord1 + "0000", "BADVERS\nedns 0 udp 1232\n"},
	{"two OPT records", "1267 0000 0001 0000 0000 0002 " + abAAAA + optRecord + "0000 " + optRecord + "0000", "FORMERR\nedns 0 udp 1232\n"},
	{"an OPT record of a name", andAdditional + abAAAA + "'a' " + optRecord + "0000", "FORMERR\nedns 0 udp 1232\n"},
	{"an OPT record among the answers", "1267 0000 0001 0001 0000 0000 " + abAAAA + optRecord + "0000", ab},

	{"NSID that says something", andAdditional + abAAAA + optRecord + "0007 0003 0003 010203", ab + "edns 0 udp 1232, nsid mec-1\n"},
	{"a size of 0 is one of 512", andAdditional + abAAAA + "00 0029 0000 00 00 0000 0000", ab + "edns 0 udp 1232\n"},
	{"all flags but QR", "1267 07f0 0001 0000 0000 0000 " + abAAAA, "NOERROR aa rd\n" + ab[len("NOERROR aa\n"):]},
	{"an rcode", "1267 000f 0001 0000 0000 0000 " + abAAAA, ab},
	{"an answer", "1267 0000 0001 0001 0000 0000 " + abAAAA + "c00c 001c 0001 00000005 0010 20010db8 00*12", ab},
	{"a dot within a label", oneQuestion + "'a.b' 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},
	{"a dot that hides a zone", oneQuestion + "'a.b.edge' 'example' 00 001c 0001", "REFUSED\n"},
	{"a zero within a label", oneQuestion + "03610062 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},
	{"letters that are none in ASCII keep their case", oneQuestion + "01c1 01b2 'edge' 'example' 00 001c 0001", "NXDOMAIN aa\nauthority " + soa},

	{"client subnet: no such family", andAdditional + abAAAA + optRecord + "000b 0008 0007 0003 18 00 c00002", "REFUSED\nedns 0 udp 1232\n"},
	{"client subnet: too few octets", andAdditional + abAAAA + optRecord + "000a 0008 0006 0001 18 00 c000", "FORMERR\nedns 0 udp 1232\n"},
	{"client subnet: too many octets", andAdditional + abAAAA + optRecord + "000c 0008 0008 0001 18 00 c0000201", "FORMERR\nedns 0 udp 1232\n"},
	{"client subnet: bits beyond the prefix", andAdditional + abAAAA + optRecord + "000b 0008 0007 0001 17 00 c00003", "FORMERR\nedns 0 udp 1232\n"},
	{"client subnet: a prefix of 33", andAdditional + abAAAA + optRecord + "000d 0008 0009 0001 21 00 c000020100", "FORMERR\nedns 0 udp 1232\n"},
	{"client subnet: a scope in a query", andAdditional + abAAAA + optRecord + "000b 0008 0007 0001 18 18 c00002", "FORMERR\nedns 0 udp 1232\n"},
	{"client subnet: half of it", andAdditional + abAAAA + optRecord + "0006 0008 0002 0001", "FORMERR\nedns 0 udp 1232\n"},
}

// notQueries must not be answered: an answer could go on for ever, or go to somebody who never asked.
var notQueries = []struct{ name, message string }{
	{"nothing", ""},
	{"one octet", "12"},
	{"less than a header", "1267 0000 0001 0000 0000 00"},
	{"a response", "1267 8000 0001 0000 0000 0000 " + abAAAA},
	{"a response with an answer", "1267 8400 0001 0001 0000 0000 " + abAAAA + "c00c 001c 0001 00000005 0010 20010db8 00*12"},
	{"a response of an unknown opcode", "1267 f800 0000 0000 0000 0000"},
	{"a response that says FORMERR", "1267 8001 0000 0000 0000 0000"},
	{"a broken response", "1267 ffff ffff ffff ffff ffff"},
}

// connect opens a socket to server from any address, or from the one given; what waits on it waits long enough.
func connect(t *testing.T, network, from, server string) *dns.Conn {
	t.Helper()
	var d net.Dialer
	if from != "" {
		a, err := net.ResolveUDPAddr(network, from)
		if err != nil {
			t.Fatal(err)
		}
		d.LocalAddr = a
	}
	c, err := d.DialContext(t.Context(), network, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &dns.Conn{Conn: c, UDPSize: dns.MaxMsgSize}
}

func send(t *testing.T, c *dns.Conn, message []byte) {
	t.Helper()
	if _, err := c.Write(message); err != nil { // over TCP with its length before it
		t.Fatal(err)
	}
}

// next returns the next answer on a socket, in the form of show.
func next(t *testing.T, c *dns.Conn) string {
	t.Helper()
	m, err := c.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	if m.Id != 0x1267 {
		t.Errorf("id %04x", m.Id)
	}
	return soaSerial.ReplaceAllString(show(m), "$1 "+testSerial)
}

var (
	soaSerial  = regexp.MustCompile(`( hostmaster\S+) \d+`)
	testSerial = strconv.FormatInt(testTime.Unix(), 10)
)

func TestOddQueries(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[::1]:53", "127.0.0.1:53")
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range []string{"[::1]:53", "127.0.0.1:53"} {
			c := connect(t, network, "", server)
			for _, tt := range oddQueries {
				send(t, c, octets(t, tt.message))
				if diff := cmp.Diff(tt.want, next(t, c)); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", tt.name, network, diff)
				}
			}
		}
	}
}

// Silence is told from slowness by the next query on the same socket: its answer must be the first to come. Over TCP the
// connection ends.
func TestNotQueries(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[::1]:53", "127.0.0.1:53")
	query := octets(t, oneQuestion+abAAAA)
	for _, tt := range notQueries {
		for _, server := range []string{"[::1]:53", "127.0.0.1:53"} {
			c := connect(t, "udp", "", server)
			send(t, c, octets(t, tt.message))
			send(t, c, query)
			if diff := cmp.Diff(ab, next(t, c)); diff != "" {
				t.Errorf("%s was answered (-want +got):\n%s", tt.name, diff)
			}
			c = connect(t, "tcp", "", server)
			send(t, c, octets(t, tt.message))
			if b, err := io.ReadAll(c.Conn); len(b) > 0 {
				t.Errorf("%s over TCP was answered: %x, %v", tt.name, b, err)
			}
		}
	}
}

// Old resolvers ask from port 53; a response from there is not answered, for two servers could go on for ever.
func TestPort53(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[::1]:53", "127.0.0.1:53")
	nettest.AddAddress(t, "2001:db8:c::53/128")
	for server, from := range map[string]string{"[::1]:53": "[2001:db8:c::53]:53", "127.0.0.1:53": "127.0.0.53:53"} {
		c := connect(t, "udp", from, server)
		send(t, c, octets(t, "1267 8000 0001 0000 0000 0000 "+abAAAA))
		send(t, c, octets(t, oneQuestion+abAAAA))
		if diff := cmp.Diff(ab, next(t, c)); diff != "" {
			t.Errorf("from %s (-want +got):\n%s", from, diff)
		}
	}
}

// A stranger makes one server ask another: it answers once, and the other keeps quiet.
func TestServersDoNotTalk(t *testing.T) {
	nettest.Need(t)
	one := startServer(t, "127.0.0.1:53")
	other := startServer(t, "127.0.0.2:53")
	for i, message := range []string{oneQuestion + abAAAA, "1267 0000 0000 0000 0000 0000"} {
		forge(t, "127.0.0.2", 53, "127.0.0.1", octets(t, message))
		waitFor(t, func() bool { return dropped(other, notAQuery) == uint64(i+1) })
	}
	if n := dropped(one, notAQuery); n != 0 {
		t.Errorf("%d responses came back", n)
	}
}

// forge sends a datagram to port 53 of an IPv4 address from any other, and from any port: only raw sockets can.
func forge(t *testing.T, from string, port uint16, to string, payload []byte) {
	t.Helper()
	raw, err := net.ListenPacket("ip4:udp", from)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	datagram := binary.BigEndian.AppendUint16(nil, port)
	datagram = binary.BigEndian.AppendUint16(datagram, 53)
	datagram = binary.BigEndian.AppendUint16(datagram, uint16(8+len(payload)))
	datagram = append(append(datagram, 0, 0), payload...)
	if _, err := raw.WriteTo(datagram, &net.IPAddr{IP: net.ParseIP(to)}); err != nil {
		t.Fatal(err)
	}
}
