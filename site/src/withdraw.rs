//! Finding what was published, and marking it as not to be used any more.

use dhow_image::{Labels, Name};

use crate::{CatalogOptions, CatalogWritten, Error, Record, Site};

impl Site {
    /// The published images of a name that have all of these labels.
    pub async fn find(&self, name: &Name, labels: &Labels) -> Result<Vec<Record>, Error> {
        let mut records = self.versions(name).await?;
        records.retain(|record| labels.first_mismatch(&record.labels).is_none());
        if records.is_empty() {
            return Err(Error::NotPublished {
                name: name.clone(),
                labels: labels.to_string(),
                location: self.files.location().to_owned(),
            });
        }
        Ok(records)
    }

    /// Marks images as not to be used any more, and why; or, without a reason, takes the mark away. They stay where they
    /// are, for those who ask for exactly their version, but are no `latest` and in no range.
    ///
    /// Only the catalog tells clients. Where there is one, somebody must sign it.
    pub async fn yank(
        &self,
        records: &[Record],
        reason: Option<&str>,
        options: Option<&CatalogOptions>,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut images = Vec::new();
        for record in records {
            self.check_catalog(&record.name, options).await?;
            let mut record = record.clone();
            record.yanked = reason.map(str::to_owned);
            let path = self.layout.archive(&record).record;
            self.files.write(&path, record.to_json()).await?;
            images.push(record);
        }
        let written = match options {
            Some(options) => {
                let images = images.iter().map(|image| (image.name.clone(), image.labels.clone()));
                let images: Vec<_> = images.collect();
                self.list(&images, options).await?
            }
            None => Vec::new(),
        };
        for image in &images {
            self.settle(image, &mut Vec::new()).await?;
        }
        Ok(written)
    }
}
