//! The pages, and what stands in them between fences.

use crate::harness::repository;

/// One page.
pub struct Page {
    /// The alert's name.
    pub name: String,
    pub text: String,
}

/// What stands between two fences.
pub struct Block {
    /// `sh`, `promql` or `logql`.
    pub language: String,
    /// Without the indentation of a list.
    pub text: String,
}

/// All pages but the index, by name.
pub fn pages() -> Vec<Page> {
    let directory = std::fs::read_dir(repository("docs/runbooks")).expect("the runbooks");
    let paths = directory.map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<Page> = paths
        .map(|path| Page {
            name: path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            text: std::fs::read_to_string(&path).expect("a page"),
        })
        .filter(|page| page.name != "README")
        .collect();
    pages.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(pages.len() > 30, "only {} pages", pages.len());
    pages
}

impl Page {
    /// All its blocks, from the first to the last.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for line in self.text.lines() {
            let trimmed = line.trim();
            match (trimmed.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block {
                        language: language.to_owned(),
                        text: String::new(),
                    });
                }
                (None, Some(block)) => block.text.push_str(&format!("{trimmed}\n")),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        blocks
    }

    /// The queries of one language, one per line.
    pub fn queries(&self, language: &str) -> Vec<String> {
        let blocks = self.blocks().into_iter();
        let blocks = blocks.filter(|block| block.language == language);
        blocks
            .flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// What a shell is given.
    pub fn commands(&self) -> Vec<String> {
        let blocks = self.blocks().into_iter();
        let blocks = blocks.filter(|block| block.language == "sh");
        blocks.map(|block| block.text).collect()
    }
}
