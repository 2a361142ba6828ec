package bfd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// unhex reads octets with spaces between.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Packets as FRR 8.4 and BIRD 2.0 send them, and ours.
var samples = map[string]struct {
	wire string
	want packet
}{
	"FRR, down, never heard us": {
		"20 48 03 18 3ea0d2a1 00000000 000f4240 000f4240 0000c350",
		packet{state: Down, controlPlaneIndependent: true, detectMult: 3, myDiscr: 0x3ea0d2a1, desiredMinTx: time.Second,
			requiredMin: time.Second, requiredMinEcho: 50 * time.Millisecond},
	},
	"BIRD, up, poll": {
		"20 e0 05 18 8e3b6d17 11223344 000186a0 00002710 00000000",
		packet{state: Up, poll: true, detectMult: 5, myDiscr: 0x8e3b6d17, yourDiscr: 0x11223344,
			desiredMinTx: 100 * time.Millisecond, requiredMin: 10 * time.Millisecond},
	},
	"init, final, demand, detection time expired": {
		"21 92 01 18 00000001 00000002 ffffffff 00000000 00000000",
		packet{diag: TimeExpired, state: Init, final: true, demand: true, detectMult: 1, myDiscr: 1, yourDiscr: 2,
			desiredMinTx: (1<<32 - 1) * time.Microsecond},
	},
	"admin down, all diagnostics": {
		"3f 00 ff 18 ffffffff 00000000 00000001 00000001 00000001",
		packet{diag: 31, state: AdminDown, detectMult: 255, myDiscr: 1<<32 - 1, desiredMinTx: time.Microsecond,
			requiredMin: time.Microsecond, requiredMinEcho: time.Microsecond},
	},
}

func TestPackets(t *testing.T) {
	for name, tt := range samples {
		t.Run(name, func(t *testing.T) {
			got, err := parse(unhex(tt.wire))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(packet{})); diff != "" {
				t.Errorf("parse (-want +got):\n%s", diff)
			}
			if wire := tt.want.append(nil); !bytes.Equal(wire, unhex(tt.wire)) {
				t.Errorf("append: %x", wire)
			}
		})
	}
}

// The rules of RFC 5880 section 6.8.6 that need no session, one by one, and what lies at their borders.
func TestParseRules(t *testing.T) {
	good := unhex(samples["BIRD, up, poll"].wire)
	edit := func(changes ...int) []byte { // pairs of offset and octet
		b := bytes.Clone(good)
		for i := 0; i < len(changes); i += 2 {
			b[changes[i]] = byte(changes[i+1])
		}
		return b
	}
	with := func(b []byte, n int) []byte { return append(b, make([]byte, n)...) }
	for name, tt := range map[string]struct {
		wire []byte
		want error
	}{
		"nothing":                              {nil, errLength},
		"too short to tell":                    {good[:23], errLength},
		"version 0":                            {edit(0, 0x00), errVersion},
		"version 2":                            {edit(0, 0x40), errVersion},
		"version 7":                            {edit(0, 0xe0), errVersion},
		"length 23":                            {edit(3, 23), errLength},
		"length 0":                             {edit(3, 0), errLength},
		"length beyond the payload":            {edit(3, 25), errLength},
		"length 24 of a longer payload":        {with(edit(), 8), nil},
		"length 32 of 32":                      {with(edit(3, 32), 8), nil},
		"authenticated, length 25":             {with(edit(1, 0xc4, 3, 25), 8), errLength},
		"authenticated, length 24":             {edit(1, 0xc4), errLength},
		"authenticated, length beyond payload": {with(edit(1, 0xc4, 3, 28), 3), errLength},
		"detect mult 0":                        {edit(2, 0), errDetectMult},
		"multipoint":                           {edit(1, 0xc1), errMultipoint},
		"my discriminator 0":                   {edit(4, 0, 5, 0, 6, 0, 7, 0), errMyDiscr},
		"your discriminator 0 in up":           {edit(8, 0, 9, 0, 10, 0, 11, 0), errYourDiscr},
		"your discriminator 0 in init":         {edit(1, 0x80, 8, 0, 9, 0, 10, 0, 11, 0), errYourDiscr},
		"your discriminator 0 in down":         {edit(1, 0x40, 8, 0, 9, 0, 10, 0, 11, 0), nil},
		"your discriminator 0 in admin down":   {edit(1, 0x00, 8, 0, 9, 0, 10, 0, 11, 0), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(tt.wire); !errors.Is(err, tt.want) {
				t.Errorf("%x: %v, want %v", tt.wire, err, tt.want)
			}
		})
	}
	p, err := parse(with(edit(1, 0xc4, 3, 28), 4))
	if err != nil || !p.authenticated {
		t.Errorf("authenticated: %+v, %v", p, err)
	}
}

// Whatever comes in, parse reads no further than it may, and what it accepts is what append would write.
func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add(unhex(s.wire))
		f.Add(append(unhex(s.wire), 0, 0, 0, 0))
	}
	f.Add(unhex("20 c4 05 1c 8e3b6d17 11223344 000186a0 00002710 00000000 01040141"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		if p.detectMult == 0 || p.myDiscr == 0 || p.yourDiscr == 0 && p.state > Down || int(b[3]) > len(b) {
			t.Fatalf("%x is accepted: %+v", b, p)
		}
		want := bytes.Clone(b[:packetSize])
		want[1] &^= bitAuthentication
		want[3] = packetSize
		if got := p.append(nil); !bytes.Equal(got, want) {
			t.Fatalf("%x became %x", want, got)
		}
	})
}
