package health

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// What Linux 6.18 on amd64 sent, in lines of one field or more each: length, type, flags, sequence number, receiver; then
// family, state, timer, retransmissions; local and remote port; source; destination; interface and cookie; expires, rqueue,
// wqueue, uid, inode; attributes.
const (
	// [::1]:53/tcp listens
	dumpedTCP = `84000000 1400 0200 01000000 8a220000
		0a 0a 00 00  0035 0000
		00000000000000000000000000000001
		00000000000000000000000000000000
		00000000 0ade6b0000000000
		00000000 00000000 10000000 00000000 86256d00
		0500 0800 00000000
		0500 0b00 01000000
		0800 0f00 00000000
		0c00 1500 0100000000000000
		0600 1600 12000000`
	// 127.0.0.2:53/udp, followed by 127.0.0.1:53/udp
	dumpedUDP = `7c000000 1400 0200 01000000 8a220000
		02 07 00 00  0035 0000
		7f000002000000000000000000000000
		00000000000000000000000000000000
		00000000 08de6b0000000000
		00000000 00000000 00000000 00000000 84256d00
		0500 0800 00000000
		0800 0f00 00000000
		0c00 1500 0100000000000000
		0600 1600 50000000
		7c000000 1400 0200 01000000 8a220000
		02 07 00 00  0035 0000
		7f000001000000000000000000000000
		00000000000000000000000000000000
		00000000 09de6b0000000000
		00000000 00000000 00000000 00000000 83256d00
		0500 0800 00000000
		0800 0f00 00000000
		0c00 1500 0100000000000000
		0600 1600 50000000`
	// the end of a dump, errno 0
	dumpDone = `14000000 0300 0200 01000000 74780000 00000000`
	// the end of a dump that asked for protocol 99: ENOENT
	dumpNoHandler = `14000000 0300 0200 01000000 8a220000 feffffff`
	// [::]:53/udp destroyed
	destroyedUDP = `60000000 1400 0000 00000000 00000000
		0a 07 00 00  0035 0000
		00000000000000000000000000000000
		00000000000000000000000000000000
		00000000 0bde6b0000000000
		00000000 00000000 00000000 ffffffff 00000000
		0500 0a00 11000000`
	// 127.0.0.1:53/udp destroyed
	destroyedUDP4 = `60000000 1400 0000 00000000 00000000
		02 07 00 00  0035 0000
		7f000001000000000000000000000000
		00000000000000000000000000000000
		00000000 09de6b0000000000
		00000000 00000000 00000000 ffffffff 00000000
		0500 0a00 11000000`
)

func seed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseSocket(t *testing.T) {
	for _, test := range []struct {
		name, message string
		want          socket
	}{
		{"listening", dumpedTCP, socket{state: tcpListen, addr: netip.MustParseAddr("::1"), port: 53, v6only: true}},
		{"bound", dumpedUDP, socket{state: tcpClose, addr: netip.MustParseAddr("127.0.0.2"), port: 53}},
		{"destroyed", destroyedUDP, socket{protocol: unix.IPPROTO_UDP, state: tcpClose, addr: netip.IPv6Unspecified(), port: 53}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, _, err := nextMessage(seed(t, test.message))
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseSocket(m.body)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(socket{}), cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestReadDump(t *testing.T) {
	l := Listener{Network: "udp", Address: netip.MustParseAddr("127.0.0.1"), Port: 53}
	absent := Listener{Network: "udp", Address: netip.MustParseAddr("127.0.0.3"), Port: 53}
	for _, test := range []struct {
		name, message string
		listener      Listener
		found, done   bool
		err           error
	}{
		{"the second of two", dumpedUDP, l, true, false, nil},
		{"neither", dumpedUDP, absent, false, false, nil},
		{"neither, and that was all", dumpedUDP + dumpDone, absent, false, true, nil},
		{"end", dumpDone, l, false, true, nil},
		{"no such protocol", dumpNoHandler, l, false, true, unix.ENOENT},
		{"an answer to something else", strings.Replace(dumpDone, "01000000", "02000000", 1), l, false, false, nil},
		{"cut", dumpedUDP[:len(dumpedUDP)-8], absent, false, false, cmpopts.AnyError},
		{"end without a status", "10000000 0300 0200 01000000 74780000", l, false, true, errShort},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, done, err := readDump(seed(t, test.message), 1, test.listener)
			if found != test.found || done != test.done || !cmp.Equal(err, test.err, cmpopts.EquateErrors()) {
				t.Errorf("found %v, done %v, %v; want %v, %v, %v", found, done, err, test.found, test.done, test.err)
			}
		})
	}
}

func TestReadEvents(t *testing.T) {
	event, lost := socketEvent{network: "udp", port: 53}, socketEvent{lost: true}
	for _, test := range []struct {
		name, message string
		want          []socketEvent
	}{
		{"none", "", nil},
		{"one", destroyedUDP, []socketEvent{event}},
		{"two in one datagram", destroyedUDP + destroyedUDP4, []socketEvent{event, event}},
		{"one that does not tell its protocol", dumpedTCP, []socketEvent{lost}},
		{"one that is cut", destroyedUDP4 + destroyedUDP[:16], []socketEvent{event, lost}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []socketEvent
			readEvents(seed(t, test.message), time.Time{}, func(e socketEvent) { got = append(got, e) })
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(socketEvent{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestDumpRequest(t *testing.T) {
	want := seed(t, `48000000 1400 0103 07000000 00000000
		0a 11 00 00 80000000
		0035 0000`+strings.Repeat("00", 44))
	if got := dumpRequest(7, unix.AF_INET6, unix.IPPROTO_UDP, 1<<tcpClose, 53); !bytes.Equal(got, want) {
		t.Errorf("got %x\nwant %x", got, want)
	}
}

func FuzzNetlink(f *testing.F) {
	for _, s := range []string{dumpedTCP, dumpedUDP, dumpDone, dumpNoHandler, destroyedUDP, destroyedUDP4, dumpedUDP + dumpDone} {
		f.Add(seed(f, s))
	}
	l := Listener{Network: "udp", Address: netip.MustParseAddr("127.0.0.1"), Port: 53}
	f.Fuzz(func(t *testing.T, b []byte) {
		readEvents(b, time.Time{}, func(e socketEvent) {
			if !e.lost && e.network == "" {
				t.Errorf("event of no network: %+v", e)
			}
		})
		if found, _, err := readDump(b, 1, l); found && err != nil {
			t.Errorf("found, and error %v", err)
		}
		// What is split off must make progress and stay within the input.
		for rest := b; len(rest) > 0; {
			m, next, err := nextMessage(rest)
			if err != nil {
				break
			}
			if len(next) >= len(rest) || len(m.body) > len(rest) {
				t.Fatalf("message of %d bytes, rest of %d in %d", len(m.body), len(next), len(rest))
			}
			rest = next
		}
	})
}

func TestServedBy(t *testing.T) {
	sock := func(addr string, v6only bool) socket {
		return socket{state: tcpClose, addr: netip.MustParseAddr(addr), port: 53, v6only: v6only}
	}
	for _, test := range []struct {
		address string
		socket  socket
		want    bool
	}{
		{"127.0.0.1", sock("::ffff:127.0.0.1", false), true},
		{"::ffff:127.0.0.1", sock("127.0.0.1", false), true},
		{"fe80::1%eth0", sock("fe80::1", true), true},
		{"::1", sock("0.0.0.0", false), false},
		{"127.0.0.1", sock("::", true), false},
		{"127.0.0.1", sock("::", false), true},
		{"127.0.0.1", sock("::1", false), false},
		{"127.0.0.1", socket{state: 1, addr: netip.MustParseAddr("127.0.0.1"), port: 53}, false},
	} {
		l := Listener{Network: "udp", Address: netip.MustParseAddr(test.address), Port: 53}
		if got := l.servedBy(test.socket); got != test.want {
			t.Errorf("%s served by %+v: %v", test.address, test.socket, got)
		}
	}
}

// The errors that end a dump differ between kernels; all must unwrap to the errno.
func TestStatus(t *testing.T) {
	if err := (message{body: seed(t, "ffffffff")}).status(); !errors.Is(err, unix.EPERM) {
		t.Errorf("status -1: %v, want EPERM", err)
	}
}
