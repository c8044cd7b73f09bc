// Package dbload runs real databases as witnesses: PostgreSQL and SQLite commit
// numbered transactions, a Ledger outside of them notes when each was sent and
// answered, and after a recovery the database's own checks and its content say
// which transactions are there.
package dbload
