-- needs: 1
-- Adds nothing to the tables. Prices that depend on the request (rule 5.9) stand in the text of price
-- books, where a library that knows no such price cannot read them: they are refused until this is
-- finished, when no such library runs any more.

-- finish: the books of today may be written
SELECT 1;
