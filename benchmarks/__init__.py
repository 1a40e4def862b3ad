"""What polling jobs costs, beside what people would write instead. `make bench`; docs/performance.md."""
