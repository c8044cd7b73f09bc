package dbload

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
)

// session is an interactive client of a database.
type session struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func newSession(argv ...string) (*session, error) {
	s := &session{cmd: exec.Command(argv[0], argv[1:]...)}
	s.cmd.Stderr = &s.err
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err1, err2 error
	s.in, err1 = s.cmd.StdinPipe()
	out, err2 := s.cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

// ask sends statements of which the last one answers one line.
func (s *session) ask(sql string) (string, error) {
	if _, err := io.WriteString(s.in, sql+"\n"); err != nil {
		return "", s.died(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return "", s.died(err)
	}
	return strings.TrimSpace(line), nil
}

// commit runs the statements as transaction n.
func (s *session) commit(n int, statements string) error {
	got, err := s.ask("BEGIN; " + statements + " COMMIT; SELECT " + fmt.Sprint(n) + ";")
	if err == nil && got != fmt.Sprint(n) {
		err = fmt.Errorf("the database answers %q", got)
	}
	return err
}

func (s *session) died(err error) error {
	s.cmd.Process.Kill()
	return errors.Join(err, s.cmd.Wait(), errors.New(strings.TrimSpace(s.err.String())))
}

func (s *session) close() error {
	return errors.Join(s.in.Close(), s.cmd.Wait())
}

func (s *session) kill() {
	s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Both databases hold the same: one row for each transaction, and accounts
// between which it moves an amount.
const accounts = 50

func transfer(n int) (from, to, amount int) {
	return n * 7 % accounts, (n*7 + n%11 + 1) % accounts, n%13 + 1
}

// statements of transaction n; pad is an expression of n's row.
func statements(n int, pad string) string {
	from, to, amount := transfer(n)
	return fmt.Sprintf("INSERT INTO moves VALUES (%d, %s); UPDATE accounts SET amount = amount - %d WHERE id = %d; UPDATE accounts SET amount = amount + %d WHERE id = %d;",
		n, pad, amount, from, amount, to)
}

// judge holds what a database says against what it must hold after its last
// transaction: "count|last|bad rows" and "id:amount,…".
func judge(rows, amounts string) (n int, err error) {
	var count, last, bad int
	if _, err := fmt.Sscanf(strings.ReplaceAll(rows, "|", " "), "%d %d %d", &count, &last, &bad); err != nil {
		return 0, fmt.Errorf("the database says %q: %w", rows, err)
	}
	if count != last || bad != 0 {
		return 0, fmt.Errorf("%d transactions, the last is %d, %d have a wrong row: there is a hole", count, last, bad)
	}
	want := make([]int, accounts)
	for i := 1; i <= last; i++ {
		from, to, amount := transfer(i)
		want[from] -= amount
		want[to] += amount
	}
	var all []string
	for id, amount := range want {
		all = append(all, fmt.Sprintf("%d:%d", id, amount))
	}
	if expect := strings.Join(all, ","); amounts != expect {
		return 0, fmt.Errorf("after %d transactions the accounts are %s, want %s", last, amounts, expect)
	}
	return last, nil
}
