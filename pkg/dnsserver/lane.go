package dnsserver

import (
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// The kernel sorts queries before anybody reads them. Those that look as if they held a cookie of ours go to a socket of their own, the
// lane, which is the last of each address; a flood of forged addresses has no cookies, fills the others, and is dropped there, the newest
// first. Whoever has shown that its address is its own is answered meanwhile. A flood that forges the look as well fills the lane alone.

// Where things are in a query that ends with a cookie: the last option of the OPT record, which is the last of all.
const (
	cookieAtEnd  = 4 + cookieSize
	leastWithOne = headerSize + 1 + 4 + optSize + cookieAtEnd
)

// sort has the kernel choose among the sockets of an address: the ordinary ones come first, and then the lane. A kernel that cannot spreads
// all queries over all sockets, which serve alike.
func (s *udpSocket) sort(ordinary int) {
	program := sorting(ordinary, s.addr.Addr().Is4())
	arg := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, _ = unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
		uintptr(unsafe.Pointer(&arg)), unsafe.Sizeof(arg), 0)
}

// sorting returns a program that returns the index of a socket. It sees the datagram's payload; the headers before it are at offsets from
// SKF_NET_OFF. Ordinary queries are spread by the client's port and the end of its address.
func sorting(ordinary int, v4 bool) []unix.SockFilter {
	port, address := uint32(40), uint32(8+14) // RFC 8200 section 3: the source's last two octets, and what follows the header
	if v4 {
		port, address = 20, 12+2
	}
	const network = -0x100000 & 0xffffffff // SKF_NET_OFF
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: leastWithOne, Jf: 7},
		{Code: unix.BPF_ALU | unix.BPF_SUB | unix.BPF_K, K: cookieAtEnd},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: dns.EDNS0COOKIE, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: cookieSize, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: uint32(ordinary)},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: network + port},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: network + address},
		{Code: unix.BPF_ALU | unix.BPF_XOR | unix.BPF_X},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(ordinary)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
}
