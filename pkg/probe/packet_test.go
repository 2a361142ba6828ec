package probe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
)

// Packets as they look on the wire.
const (
	requestHex = "41455042" + "01" + "01" + "00" + "00" + // AEPB, version 1, request, no site
		"0102030405060708" + "000000000000002a" + "000000003b9aca00" + "0000000000000000"
	replyHex = "41455042" + "01" + "02" + "05" + "00" +
		"0102030405060708" + "000000000000002a" + "000000003b9aca00" + "000000003b9aca07" + "6d65632d31"
)

func wire(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, Size-len(b))...)
}

func reply1(t testing.TB) Packet {
	t.Helper()
	p := Packet{Kind: KindReply, Run: 0x0102030405060708, Seq: 42, SentNs: 1e9, ReceivedNs: 1e9 + 7}
	if err := p.SetSite("mec-1"); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPacketOnTheWire(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		p    Packet
		wire string
	}{
		"request": {Packet{Kind: KindRequest, Run: 0x0102030405060708, Seq: 42, SentNs: 1e9}, requestHex},
		"reply":   {reply1(t), replyHex},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.p.AppendBinary(nil)
			if err != nil || !bytes.Equal(got, wire(t, tt.wire)) {
				t.Errorf("AppendBinary: %x, %v; want %x", got, err, wire(t, tt.wire))
			}
			var back Packet
			if err := back.UnmarshalBinary(got); err != nil || back != tt.p {
				t.Errorf("UnmarshalBinary: %+v, %v; want %+v", back, err, tt.p)
			}
		})
	}
}

func TestPacketExtremes(t *testing.T) {
	t.Parallel()
	p := Packet{Kind: KindReply, Run: math.MaxUint64, Seq: math.MaxUint64, SentNs: math.MinInt64, ReceivedNs: math.MaxInt64}
	if err := p.SetSite(strings.Repeat("x", MaxSite)); err != nil {
		t.Fatal(err)
	}
	b, _ := p.AppendBinary(nil)
	back := reply1(t) // what was there before must not show through
	if err := back.UnmarshalBinary(b); err != nil || back != p {
		t.Errorf("got %+v, %v; want %+v", back, err, p)
	}
}

func TestBadPackets(t *testing.T) {
	t.Parallel()
	change := func(text string, at int, to byte) []byte {
		b := wire(t, text)
		b[at] = to
		return b
	}
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                     {nil, errSize},
		"too short":                 {wire(t, replyHex)[:Size-1], errSize},
		"too long":                  {append(wire(t, replyHex), 0), errSize},
		"magic":                     {change(replyHex, 0, 'B'), errMagic},
		"version 0":                 {change(replyHex, atVersion, 0), errVersion},
		"version 2":                 {change(replyHex, atVersion, 2), errVersion},
		"kind 0":                    {change(requestHex, atKind, 0), errKind},
		"kind 3":                    {change(requestHex, atKind, 3), errKind},
		"reserved byte":             {change(replyHex, atReserved, 1), errReserved},
		"padding":                   {change(replyHex, Size-1, 'x'), errReserved},
		"site too long":             {change(replyHex, atSiteLen, MaxSite+1), errSiteBytes},
		"reply without site":        {wire(t, strings.Replace(requestHex, "0101", "0102", 1)), errSiteBytes},
		"site with escape":          {change(replyHex, atSite, 0x1b), errSiteBytes},
		"site with space":           {change(replyHex, atSite, ' '), errSiteBytes},
		"site with zero":            {change(replyHex, atSite, 0), errSiteBytes},
		"site beyond ASCII":         {change(replyHex, atSite, 0x80), errSiteBytes},
		"site longer than text":     {change(replyHex, atSiteLen, 6), errSiteBytes},
		"site shorter than text":    {change(replyHex, atSiteLen, 4), errReserved},
		"request with receive time": {change(requestHex, atReceived, 1), errRequest},
		"request with site":         {change(replyHex, atKind, byte(KindRequest)), errRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := new(Packet).UnmarshalBinary(tt.data); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSetSite(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", " ", "a b", "a\n", "ü", strings.Repeat("x", MaxSite+1)} {
		p := reply1(t)
		if err := p.SetSite(bad); err == nil || p.Site() != "mec-1" {
			t.Errorf("SetSite(%q): %v, site %q; want an error and the old site", bad, err, p.Site())
		}
	}
	p := reply1(t)
	if err := p.SetSite("b"); err != nil || p.Site() != "b" {
		t.Errorf("a shorter name: %q, %v", p.Site(), err)
	}
	if b, _ := p.AppendBinary(nil); new(Packet).UnmarshalBinary(b) != nil {
		t.Error("a shorter name leaves bytes of the longer one behind")
	}
}

func TestKindString(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]string{KindRequest: "request", KindReply: "reply", 9: "kind(9)"} {
		if got := kind.String(); got != want {
			t.Errorf("Kind(%d): %q, want %q", uint8(kind), got, want)
		}
	}
}

// FuzzPacket: whatever decodes encodes to the same bytes, and no bytes panic.
func FuzzPacket(f *testing.F) {
	f.Add(wire(f, requestHex))
	f.Add(wire(f, replyHex))
	f.Add([]byte("AEPB"))
	f.Add(make([]byte, Size))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again Packet
		if p.UnmarshalBinary(data) != nil {
			return
		}
		b, err := p.AppendBinary(nil)
		if err != nil || !bytes.Equal(b, data) {
			t.Fatalf("%x decodes to %+v and encodes to %x, %v", data, p, b, err)
		}
		if err := again.UnmarshalBinary(b); err != nil || again != p {
			t.Fatalf("%+v becomes %+v, %v", p, again, err)
		}
	})
}

func TestCodecAllocatesNothing(t *testing.T) {
	p, buf := reply1(t), make([]byte, 0, Size)
	allocs := testing.AllocsPerRun(100, func() {
		buf, _ = p.AppendBinary(buf[:0])
		if p.UnmarshalBinary(buf) != nil {
			t.Fatal("does not decode")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

func BenchmarkPacketAppendBinary(b *testing.B) {
	p, buf := reply1(b), make([]byte, 0, Size)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = p.AppendBinary(buf[:0])
	}
}

func BenchmarkPacketUnmarshalBinary(b *testing.B) {
	p, buf := Packet{}, wire(b, replyHex)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.UnmarshalBinary(buf); err != nil {
			b.Fatal(err)
		}
	}
}
