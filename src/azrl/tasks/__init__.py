"""What a task is, how it is asked, admitted and judged. Imports no other part of the package and no torch."""
