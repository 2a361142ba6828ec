package peers

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	aRequest = message{kind: request, name: "mec-1-a", vip: vip6, nonce: 0x0102030405060708}
	anAnswer = message{kind: answer, name: strings.Repeat("n", MaxName), vip: vip4, nonce: 1,
		state: State{Serving: true, Announcing: true, Bridging: true, Headroom: 100}}
)

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, want := range []message{aRequest, anAnswer, {kind: answer, name: "x", vip: vip6}} {
		b := want.append(nil)
		if len(b) != messageSize {
			t.Errorf("%d octets, want %d: an answer must not be larger than a request", len(b), messageSize)
		}
		got, err := parseMessage(b)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(message{}), cmpopts.EquateComparable(vip6)); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	want := append([]byte("aepr\x01\x01\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x20\x01\x0d\xb8\x00\x53"), make([]byte, 8)...)
	want = append(want, "\x00\x53\x07mec-1-a"...)
	want = append(want, make([]byte, messageSize-len(want))...)
	if diff := cmp.Diff(want, aRequest.append(nil)); diff != "" {
		t.Errorf("other hosts run the last release (-want +got)\n%s", diff)
	}
}

func TestBadMessage(t *testing.T) {
	t.Parallel()
	set := func(m message, at int, v byte) []byte {
		b := m.append(nil)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                  nil,
		"short":                  aRequest.append(nil)[:messageSize-1],
		"long":                   append(aRequest.append(nil), 0),
		"magic":                  set(aRequest, 0, 'A'),
		"version":                set(aRequest, 4, 2),
		"kind 0":                 set(aRequest, 5, 0),
		"kind 3":                 set(aRequest, 5, 3),
		"state in a request":     set(aRequest, 6, flagServing),
		"headroom in a request":  set(aRequest, 7, 1),
		"unknown flag":           set(anAnswer, 6, 8),
		"headroom over 100":      set(anAnswer, 7, 101),
		"no name":                set(aRequest, 32, 0),
		"name too long":          set(aRequest, 32, MaxName+1),
		"name and padding":       set(aRequest, messageSize-1, 'x'),
		"name longer than it is": set(aRequest, 32, 3),
	} {
		if m, err := parseMessage(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, m)
		}
	}
	if _, err := parseMessage(set(aRequest, 4, 2)); err == nil || !strings.Contains(err.Error(), "different releases") {
		t.Errorf("another version: %v", err)
	}
}

// Whatever is accepted is exactly what we would have sent.
func FuzzMessage(f *testing.F) {
	f.Add(aRequest.append(nil))
	f.Add(anAnswer.append(nil))
	f.Add([]byte("aepr"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err == nil && !bytes.Equal(m.append(nil), b) {
			t.Errorf("%x is accepted as %+v, which is sent as %x", b, m, m.append(nil))
		}
	})
}
