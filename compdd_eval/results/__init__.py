"""What an evaluation leaves: the records of students, the numbers from them, and how both leave this machine."""
