package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// death is the kernel's early notice that a process begins to die: it answers no more, but its sockets are still there.
type death struct {
	pid  int
	how  string // for people: "dumps core"
	at   time.Time
	lost bool // the kernel dropped notices: any may have been
}

// deaths are early notices from two sources, which need CAP_NET_ADMIN and no more:
//
//   - taskstats (Documentation/accounting/taskstats.rst): the kernel tells of each task that ends before it takes back the
//     task's memory. Sockets are closed only after that, 65 us per megabyte later, and a pidfd tells even later.
//   - the process connector (linux/cn_proc.h) tells that a core dump begins, after which all of the above happens.
//
// Both tell of every process of the machine; filters let through those that are followed.
type deaths struct {
	tasks, dumps *os.File

	mu   sync.Mutex
	pids map[int]int // followed, and by how many
}

// What package unix lacks of linux/acct.h, linux/connector.h and linux/cn_proc.h.
const (
	lastOfProcess   = 0x20 // AGROUP, since Linux 5.19: the task is the last of its process
	connectorProc   = 1    // CN_IDX_PROC, CN_VAL_PROC
	procListen      = 1    // PROC_CN_MCAST_LISTEN
	procNone        = 0    // PROC_EVENT_NONE
	procCoredump    = 1 << 30
	sizeofConnector = 20 // struct cn_msg
)

// Where things are in the two kinds of messages.
const (
	offsetTask      = unix.SizeofNlMsghdr + unix.GENL_HDRLEN + 3*unix.SizeofNlAttr + 4 // in AGGR_PID: PID, then STATS
	offsetTaskType  = offsetTask - 2
	offsetTaskFlags = offsetTask + int(unsafe.Offsetof(unix.Taskstats{}.Ac_flag))
	offsetTaskGroup = offsetTask + int(unsafe.Offsetof(unix.Taskstats{}.Ac_tgid))

	offsetProcWhat  = unix.SizeofNlMsghdr + sizeofConnector
	offsetProcErr   = offsetProcWhat + 16 // of PROC_EVENT_NONE
	offsetProcGroup = offsetProcWhat + 20 // of PROC_EVENT_COREDUMP: after the thread's number
)

// openDeaths asks the kernel to tell. It does so only to who is in the machine's first PID and network namespaces.
func openDeaths() (*deaths, error) {
	tasks, err := openTasks()
	if err != nil {
		return nil, fmt.Errorf("taskstats: %w: the kernel needs CONFIG_TASKSTATS; the agent CAP_NET_ADMIN and the machine's own PID and network namespaces", err)
	}
	dumps, err := openDumps()
	if err != nil {
		unix.Close(tasks)
		return nil, fmt.Errorf("process connector: %w: the kernel needs CONFIG_PROC_EVENTS; the agent CAP_NET_ADMIN and the machine's own PID and network namespaces", err)
	}
	d := &deaths{tasks: os.NewFile(uintptr(tasks), "taskstats"), dumps: os.NewFile(uintptr(dumps), "connector"), pids: make(map[int]int)}
	if err := d.filter(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openTasks returns a socket for the statistics of tasks that end on any CPU.
func openTasks() (int, error) {
	return opened(unix.NETLINK_GENERIC, registerTasks)
}

// opened returns a socket that is ready.
func opened(protocol int, ready func(fd int) error) (int, error) {
	fd, err := netns{}.socket(unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return -1, err
	}
	if err := ready(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func registerTasks(fd int) error {
	name := attribute(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(unix.TASKSTATS_GENL_NAME), 0))
	answer, err := command(fd, unix.GENL_ID_CTRL, 0, unix.CTRL_CMD_GETFAMILY, name)
	if err != nil {
		return err
	}
	family, err := familyID(answer)
	if err != nil {
		return err
	}
	cpus, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		return err
	}
	mask := attribute(unix.TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, append([]byte(strings.TrimSpace(string(cpus))), 0))
	_, err = command(fd, family, unix.NLM_F_ACK, unix.TASKSTATS_CMD_GET, mask)
	return err
}

// command sends a generic netlink request and returns the body of the answer, which comes within the call.
func command(fd int, family uint16, flags uint16, cmd uint8, attribute []byte) ([]byte, error) {
	body := append([]byte{cmd, 1, 0, 0}, attribute...)
	if err := unix.Sendto(fd, netlinkMessage(family, unix.NLM_F_REQUEST|flags, body), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, err
		}
		m, _, err := nextMessage(buf[:n])
		switch {
		case err != nil:
			return nil, err
		case m.kind == unix.NLMSG_ERROR:
			return nil, m.status()
		case m.kind == family && flags&unix.NLM_F_ACK == 0 && len(m.body) >= unix.GENL_HDRLEN:
			return m.body[unix.GENL_HDRLEN:], nil
		} // else of a task that ended meanwhile
	}
}

// familyID finds the number of a generic netlink family in the controller's answer.
func familyID(b []byte) (uint16, error) {
	for len(b) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:]) == unix.CTRL_ATTR_FAMILY_ID && length >= unix.SizeofNlAttr+2 {
			return binary.NativeEndian.Uint16(b[unix.SizeofNlAttr:]), nil
		}
		b = b[min(align4(length), len(b)):]
	}
	return 0, errShort
}

// openDumps returns a socket that hears the process connector. Linux 6.6 and later send only what was asked for; older ones
// do not know the longer request, and send forks and exits too, which the filter drops.
func openDumps() (int, error) {
	return opened(unix.NETLINK_CONNECTOR, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: connectorProc}); err != nil {
			return err
		}
		for _, request := range [][]uint32{{procListen}, {procListen, procCoredump}} {
			if err := unix.Sendto(fd, connectorMessage(request), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return err
			}
		}
		return accepted(fd)
	})
}

// accepted looks for the kernel's word that it took the request. It is given within the call that asked, to everybody who
// listens; in another PID namespace there is none.
func accepted(fd int) error {
	buf := make([]byte, dumpBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return errors.New("not heard")
		case err != nil:
			return err
		case n < offsetProcErr+4 || binary.NativeEndian.Uint32(buf[offsetProcWhat:]) != procNone:
		default:
			if errno := binary.NativeEndian.Uint32(buf[offsetProcErr:]); errno != 0 {
				return unix.Errno(errno)
			}
			return nil
		}
	}
}

func connectorMessage(words []uint32) []byte {
	b := make([]byte, 0, sizeofConnector+8)
	for _, v := range []uint32{connectorProc, connectorProc, 0, 0} { // idx, val, seq, ack
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(4*len(words)))
	b = binary.NativeEndian.AppendUint16(b, 0) // flags
	for _, v := range words {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return netlinkMessage(unix.NLMSG_DONE, 0, b)
}

func netlinkMessage(kind, flags uint16, body []byte) []byte {
	b := make([]byte, 0, unix.SizeofNlMsghdr+len(body))
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(b, make([]byte, 8)...) // number, and from whom: the kernel fills it in
	return append(b, body...)
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align4(len(b))-len(b))...)
}

// follow replaces one process by another in what is told; 0 is none.
func (d *deaths) follow(before, now int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pids[before]--; d.pids[before] <= 0 {
		delete(d.pids, before)
	}
	if now != 0 {
		d.pids[now]++
	}
	return d.filter()
}

// filter lets through the news of the processes that are followed. The caller holds mu.
func (d *deaths) filter() error {
	for file, program := range map[*os.File][]unix.SockFilter{d.tasks: d.taskFilter(), d.dumps: d.dumpFilter()} {
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		control := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
		})
		if err := errors.Join(control, err); err != nil {
			return fmt.Errorf("filter of %s: %w", file.Name(), err)
		}
	}
	return nil
}

// taskFilter passes the last task of each process that is followed.
func (d *deaths) taskFilter() []unix.SockFilter {
	return append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: uint32(offsetTaskFlags)},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: lastOfProcess, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(offsetTaskGroup)},
	}, d.passPIDs()...)
}

// dumpFilter passes the core dumps of processes that are followed.
func (d *deaths) dumpFilter() []unix.SockFilter {
	return append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetProcWhat},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: asNetwork(procCoredump), Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetProcGroup},
	}, d.passPIDs()...)
}

// passPIDs passes what has a number in the accumulator that is followed; too many to be compared are all passed.
func (d *deaths) passPIDs() []unix.SockFilter {
	pass := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1}
	if len(d.pids) > maxFilterPorts {
		return []unix.SockFilter{pass}
	}
	var f []unix.SockFilter
	for pid := range d.pids {
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: asNetwork(uint32(pid)), Jf: 1}, pass)
	}
	return append(f, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K})
}

// asNetwork returns what a filter, which reads numbers in network order, reads where v is in host order.
func asNetwork(v uint32) uint32 {
	return binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, v))
}

// watch calls saw for each notice, from two goroutines, until ctx is done.
func (d *deaths) watch(ctx context.Context, saw func(death)) error {
	g := new(errgroup.Group)
	g.Go(func() error { return listen(ctx, d.tasks, parseTask, saw) })
	g.Go(func() error { return listen(ctx, d.dumps, parseDump, saw) })
	return g.Wait()
}

func listen(ctx context.Context, file *os.File, parse func([]byte) (death, bool), saw func(death)) error {
	defer context.AfterFunc(ctx, func() { file.Close() })()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, dumpBuffer)
	for {
		var n int
		var from unix.Sockaddr
		outer := raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case outer != nil:
			return fmt.Errorf("%s: %w", file.Name(), outer)
		case errors.Is(err, unix.EINTR):
		case err != nil:
			saw(death{lost: true, at: now}) // ENOBUFS; whatever else it may be, a look tells
		case fromKernel(from):
			if e, ok := parse(buf[:n]); ok {
				e.at = now
				saw(e)
			}
		}
	}
}

// parseTask reads a message of taskstats.
func parseTask(b []byte) (death, bool) {
	if len(b) < offsetTaskGroup+4 || binary.NativeEndian.Uint16(b[offsetTaskType:]) != unix.TASKSTATS_TYPE_STATS {
		return death{}, false
	}
	if b[offsetTaskFlags]&lastOfProcess == 0 {
		return death{}, false
	}
	return death{pid: int(binary.NativeEndian.Uint32(b[offsetTaskGroup:])), how: "is ending"}, true
}

// parseDump reads a message of the process connector.
func parseDump(b []byte) (death, bool) {
	if len(b) < offsetProcGroup+4 || binary.NativeEndian.Uint32(b[offsetProcWhat:]) != procCoredump {
		return death{}, false
	}
	return death{pid: int(binary.NativeEndian.Uint32(b[offsetProcGroup:])), how: "dumps core"}, true
}

// Close ends watch.
func (d *deaths) Close() error { return errors.Join(d.tasks.Close(), d.dumps.Close()) }
